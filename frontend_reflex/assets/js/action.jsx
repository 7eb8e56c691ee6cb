// One transaction of a Byline contract, with the few fields it needs, from asking to its block.
import { useState } from "react";
import { Button, Callout, Checkbox, Flex, Spinner, Text, TextArea, TextField } from "@radix-ui/themes";
import { Plain, explain, transact } from "./chain.js";
import { Problem } from "./wallet.jsx";

const BITS = { train: 1, retrieve: 2, evaluate: 4, export: 8 };
const MEANING = {
  train: "fine-tune models on it",
  retrieve: "answer questions from it",
  evaluate: "measure models with it",
  export: "take the data out",
};
const bytes = (text) => new TextEncoder().encode(text).length;

/** What a field holds before anyone typed. */
function initial(field) {
  if (field.kind === "purposes") return field.value ?? field.options ?? ["train", "retrieve"];
  if (field.kind === "date") return field.value ? new Date(field.value * 1000).toLocaleDateString("sv") : "";
  return field.value ?? "";
}

const maskOf = (names) => names.reduce((mask, name) => mask | BITS[name], 0);

/** The field's value as the contract wants it. Throws Plain with what is wrong. */
function argument(field, value) {
  const text = typeof value === "string" ? value.trim() : value;
  if (field.kind === "purposes") {
    if (!field.optional && value.length === 0) throw new Plain("Choose at least one purpose.");
    return maskOf(value);
  }
  if (field.kind === "date") {
    if (!text) return 0;
    const end = Math.floor(new Date(`${text}T23:59:59`).getTime() / 1000);
    if (!(end > Date.now() / 1000)) throw new Plain(`${field.label}: choose a day that is not over yet.`);
    return end;
  }
  if (!text && !field.optional) throw new Plain(`${field.label}: this is needed.`);
  if (field.kind === "address" && !/^0x[0-9a-fA-F]{40}$/.test(text)) {
    throw new Plain(`${field.label}: a wallet address is 0x and 40 hexadecimal digits.`);
  }
  if (field.max_bytes && bytes(text) > field.max_bytes) {
    throw new Plain(`${field.label}: at most ${field.max_bytes} bytes; this has ${bytes(text)}.`);
  }
  return text;
}

function PurposeBoxes({ field, value, onChange, id }) {
  const names = field.options?.length ? field.options : Object.keys(BITS);
  const toggle = (name, on) => onChange(names.filter((one) => (one === name ? on : value.includes(one))));
  return (
    <Flex wrap="wrap" gap="3" rowGap="2" role="group" aria-label={field.label}>
      {names.map((name) => (
        <Text as="label" size="2" key={name} className="by-check">
          <Checkbox
            checked={value.includes(name)}
            data-testid={`${id}-${name}`}
            onCheckedChange={(on) => toggle(name, on === true)}
          />
          <span>
            {name} <span className="by-faint">· {MEANING[name]}</span>
          </span>
        </Text>
      ))}
    </Flex>
  );
}

function Field({ field, value, onChange, id, disabled }) {
  const common = { id, "data-testid": id, value, disabled, placeholder: field.placeholder || "" };
  let control;
  if (field.kind === "purposes") {
    control = <PurposeBoxes field={field} value={value} onChange={onChange} id={id} />;
  } else if (field.kind === "textarea") {
    control = <TextArea {...common} rows={2} onChange={(event) => onChange(event.target.value)} />;
  } else {
    const type = field.kind === "date" ? "date" : "text";
    const className = field.kind === "address" ? "by-mono" : undefined;
    control = (
      <TextField.Root
        {...common}
        type={type}
        className={className}
        autoComplete="off"
        onChange={(event) => onChange(event.target.value)}
      />
    );
  }
  return (
    <Flex direction="column" gap="1">
      <Text as={field.kind === "purposes" ? "div" : "label"} htmlFor={id} size="2" weight="medium">
        {field.label}
      </Text>
      {control}
      {field.help && (
        <Text size="1" color="gray">
          {field.help}
        </Text>
      )}
    </Flex>
  );
}

function Progress({ step, testid }) {
  const words = {
    wallet: "Confirm in your wallet…",
    block: "Sent. Waiting for the block that holds it…",
    done: `Confirmed in block ${step.block}.`,
  }[step.name];
  if (!words) return null;
  return (
    <Text size="2" color="gray" role="status" data-testid={`${testid}-status`} data-state={step.name}>
      {step.name !== "done" && <Spinner size="1" className="by-inline" />} {words}
    </Text>
  );
}

/**
 * `args` are literals, lists of purposes, or "$name" for the field of that name; the fields live here, in the browser, so that
 * what is sent is what is on the screen.
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
  const valueOf = (field) => values[field.name] ?? initial(field);

  const submit = async (event) => {
    event?.preventDefault();
    setProblem("");
    try {
      const given = Object.fromEntries(fields.map((field) => [field.name, argument(field, valueOf(field))]));
      const filled = args.map((arg) => {
        if (Array.isArray(arg)) return maskOf(arg);
        return typeof arg === "string" && arg.startsWith("$") ? given[arg.slice(1)] : arg;
      });
      setStep({ name: "wallet" });
      const onSent = () => setStep({ name: "block" });
      const address = network?.contracts?.[contract];
      if (!address) throw new Plain("The chain is not reachable right now. Reload the page in a moment.");
      const { hash, block } = await transact({
        network,
        wallet,
        contract: address,
        functionName,
        args: filled,
        onSent,
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
      {fields.map((field) => (
        <Field
          key={field.name}
          field={field}
          id={`${testid}-${field.name}`}
          value={valueOf(field)}
          disabled={busy}
          onChange={(value) => setValues((before) => ({ ...before, [field.name]: value }))}
        />
      ))}
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
