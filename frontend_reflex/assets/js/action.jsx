// One transaction of a Byline contract, with the few fields it needs, from asking to its block.
import { useState } from "react";
import { Button, Flex, Spinner, Text } from "@radix-ui/themes";
import { Plain, explain, transact } from "./chain.js";
import { encoded, gathered, initial } from "./fields.js";
import { Fields } from "./fields.jsx";
import { Problem } from "./wallet.jsx";

const WAITING = {
  wallet: "Confirm in your wallet…",
  block: "Sent. Waiting for the block that holds it…",
};

/** How far something is that ends up in a block. `words` of a step that goes on; of "done" and of none there are none. */
export function Progress({ step, words = WAITING, testid }) {
  const said = step.name === "done" ? `Confirmed in block ${step.block}.` : words[step.name];
  if (!said) return null;
  return (
    <Text size="2" color="gray" role="status" data-testid={`${testid}-status`} data-state={step.name}>
      {step.name !== "done" && <Spinner size="1" className="by-inline" />} {said}
    </Text>
  );
}

/** The address of a contract. Throws Plain while nobody knows it. */
export function addressOf(network, contract) {
  const address = network?.contracts?.[contract];
  if (!address) throw new Plain("The chain is not reachable right now. Reload the page in a moment.");
  return address;
}

/**
 * `args` are literals, lists of purposes, structs of such, or "$name" for the field of that name; the fields live here,
 * in the browser, so that what is sent is what is on the screen.
 */
export function WalletAction({
  network,
  wallet,
  contract,
  functionName,
  args,
  fields = [],
  label,
  size = "2",
  variant = "solid",
  color,
  testid,
  disabled,
  onConfirmed,
}) {
  const [values, setValues] = useState({});
  const [step, setStep] = useState({ name: "" });
  const [problem, setProblem] = useState("");
  const busy = step.name === "wallet" || step.name === "block";

  const submit = async (event) => {
    event?.preventDefault();
    setProblem("");
    setStep({ name: "wallet" });
    try {
      const given = await gathered(fields, (field) => values[field.name] ?? initial(field));
      const { hash, block } = await transact({
        network,
        wallet,
        contract: addressOf(network, contract),
        functionName,
        args: args.map((arg) => encoded(arg, given)),
        onSent: () => setStep({ name: "block" }),
      });
      setStep({ name: "done", block });
      setValues({});
      onConfirmed?.(hash, block);
    } catch (error) {
      setStep({ name: "" });
      setProblem(explain(error));
    }
  };

  return (
    <form onSubmit={submit} className={fields.length ? "by-form" : "by-action"} noValidate>
      <Fields
        fields={fields}
        values={values}
        testid={testid}
        disabled={busy}
        change={(name, value) => setValues((before) => ({ ...before, [name]: value }))}
      />
      <Flex align="center" gap="3" wrap="wrap">
        <Button
          type="submit"
          size={size}
          variant={variant}
          color={color}
          loading={busy}
          disabled={disabled}
          data-testid={testid}
        >
          {label}
        </Button>
        <Progress step={step} testid={testid} />
      </Flex>
      <Problem text={problem} testid={`${testid}-error`} />
    </form>
  );
}
