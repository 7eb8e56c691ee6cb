// A grant or a revocation by one signature: from its few fields to the block that holds it.
import { useEffect, useRef, useState } from "react";
import { Button, Callout, Flex, Text } from "@radix-ui/themes";
import { Progress, addressOf } from "./action.jsx";
import { explain } from "./chain.js";
import { relay, sendYourself, settled, signConsent } from "./consent.js";
import { filled, gathered, initial } from "./fields.js";
import { Fields } from "./fields.jsx";
import { Problem } from "./wallet.jsx";

const WORDS = {
  wallet: "Sign in your wallet. It costs you nothing…",
  queued: "Signed. Byline's server puts it on chain, and pays for that…",
  signed: "On its way to the chain…",
  block: "Sent from your wallet. Waiting for the block that holds it…",
};

/** Shown when the server could not send it, or is slow to: what is signed counts all the same for an hour. */
function Yourself({ why, busy, onSend, testid }) {
  return (
    <Callout.Root color="amber" size="1" className="by-callout" data-testid={`${testid}-late`}>
      <Callout.Text>
        {why
          ? `Not on chain yet: ${why}`
          : "Not on chain yet. The server's wallet may be out of funds, or the chain busy."}
      </Callout.Text>
      <Text as="p" size="2">
        You may wait, or send what you signed from your own wallet. That costs you the network's fee.
      </Text>
      <Flex mt="1">
        <Button type="button" size="1" color="amber" loading={busy} onClick={onSend} data-testid={`${testid}-yourself`}>
          Send it yourself
        </Button>
      </Flex>
    </Callout.Root>
  );
}

/** `grantee` and `purposes` are literal, or "$name" for the field of that name; the end is the field "until", if any. */
export function WalletConsent({
  network,
  wallet,
  datanetId,
  kind,
  grantee,
  purposes,
  fields = [],
  label,
  size = "2",
  variant = "solid",
  color,
  testid,
  onConfirmed,
}) {
  const [values, setValues] = useState({});
  const [step, setStep] = useState({ name: "" });
  const [problem, setProblem] = useState("");
  const [signed, setSigned] = useState(null); // what is not on chain yet and may be sent by oneself
  const [sending, setSending] = useState(false);
  const waiting = useRef(new AbortController());
  useEffect(() => () => waiting.current.abort(), []);
  const busy = Boolean(step.name) && step.name !== "done";

  const done = ({ hash, block }) => {
    waiting.current.abort();
    setStep({ name: "done", block });
    setSigned(null);
    setProblem("");
    setValues({});
    onConfirmed?.(hash, block);
  };

  const submit = async (event) => {
    event?.preventDefault();
    waiting.current.abort();
    waiting.current = new AbortController();
    setProblem("");
    setSigned(null);
    setStep({ name: "wallet" });
    let agreed = null;
    try {
      const given = await gathered(fields, (field) => values[field.name] ?? initial(field));
      const request = {
        kind,
        grantee: filled(grantee, given),
        purposes: filled(purposes, given),
        expires_at: given.until || null,
      };
      agreed = await signConsent({ network, wallet, datanetId, request });
      setStep({ name: "queued" });
      const reference = await relay(datanetId, agreed);
      setSigned(agreed);
      const found = await settled(reference, { signal: waiting.current.signal, onStep: setStep });
      if (found) done(found);
    } catch (error) {
      setStep({ name: "" });
      setProblem(explain(error));
      const unable = error.status === 0 || error.status === 429 || error.status >= 500; // not: unwilling
      setSigned(unable ? agreed : null);
      if (error.status === 409) onConfirmed?.("", 0); // what is on the screen is not what is true any more
    }
  };

  const send = async () => {
    setSending(true);
    setProblem("");
    try {
      const contract = addressOf(network, "DatanetRegistry");
      done(await sendYourself({ network, wallet, contract, signed }));
    } catch (error) {
      setProblem(explain(error));
    }
    setSending(false);
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
        <Button type="submit" size={size} variant={variant} color={color} loading={busy} data-testid={testid}>
          {label}
        </Button>
        <Progress step={step} words={WORDS} testid={testid} />
      </Flex>
      <Problem text={problem} testid={`${testid}-error`} />
      {signed && (step.late || problem) && <Yourself why={step.why} busy={sending} onSend={send} testid={testid} />}
    </form>
  );
}
