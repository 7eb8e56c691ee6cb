// The fields of a form, as Radix draws them. They keep nothing: the form that shows them does.
import { Box, Checkbox, Flex, RadioGroup, Text, TextArea, TextField } from "@radix-ui/themes";
import { initial, offered } from "./fields.js";

const MEANING = {
  train: "fine-tune models on it",
  retrieve: "answer questions from it",
  evaluate: "measure models with it",
  export: "take the data out",
};

function Purposes({ field, value, onChange, id, disabled }) {
  const names = offered(field);
  const toggle = (name, on) => onChange(names.filter((one) => (one === name ? on : value.includes(one))));
  return (
    <Flex wrap="wrap" gap="3" rowGap="2" role="group" aria-label={field.label}>
      {names.map((name) => (
        <Text as="label" size="2" key={name} className="by-check">
          <Checkbox
            checked={value.includes(name)}
            disabled={disabled}
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

function Choice({ field, value, onChange, id, disabled }) {
  return (
    <RadioGroup.Root value={value} onValueChange={onChange} disabled={disabled} aria-label={field.label}>
      {field.options.map(([name, label]) => (
        <RadioGroup.Item key={name} value={name} data-testid={`${id}-${name}`}>
          {label}
        </RadioGroup.Item>
      ))}
    </RadioGroup.Root>
  );
}

function Price({ field, value: [amount, currency], onChange, id, disabled }) {
  return (
    <Flex gap="2">
      <Box flexGrow="1">
        <TextField.Root
          id={id}
          data-testid={id}
          value={amount}
          disabled={disabled}
          inputMode="decimal"
          autoComplete="off"
          placeholder={field.placeholder}
          onChange={(event) => onChange([event.target.value, currency])}
        />
      </Box>
      <Box width="72px">
        <TextField.Root
          data-testid={`${id}-currency`}
          aria-label="Currency"
          value={currency}
          disabled={disabled}
          maxLength={3}
          autoComplete="off"
          onChange={(event) => onChange([amount, event.target.value])}
        />
      </Box>
    </Flex>
  );
}

function Line({ field, value, onChange, id, disabled }) {
  return (
    <TextField.Root
      id={id}
      data-testid={id}
      value={value}
      disabled={disabled}
      placeholder={field.placeholder}
      type={field.kind === "date" ? "date" : "text"}
      className={field.kind === "address" ? "by-mono" : undefined}
      autoComplete="off"
      spellCheck={false}
      onChange={(event) => onChange(event.target.value)}
    />
  );
}

function Paragraphs({ field, value, onChange, id, disabled }) {
  return (
    <TextArea
      id={id}
      data-testid={id}
      value={value}
      disabled={disabled}
      placeholder={field.placeholder}
      rows={field.kind === "licence" ? 5 : 2}
      onChange={(event) => onChange(event.target.value)}
    />
  );
}

const CONTROLS = { purposes: Purposes, choice: Choice, price: Price, textarea: Paragraphs, licence: Paragraphs };
const GROUPS = ["purposes", "choice"]; // more than one control: their label is no single one's

function Field({ field, id, ...held }) {
  const Control = CONTROLS[field.kind] ?? Line;
  const label = GROUPS.includes(field.kind) ? { as: "div" } : { as: "label", htmlFor: id };
  return (
    <Flex direction="column" gap="1">
      <Text {...label} size="2" weight="medium">
        {field.label}
      </Text>
      <Control field={field} id={id} {...held} />
      {field.help && (
        <Text size="1" color="gray">
          {field.help}
        </Text>
      )}
    </Flex>
  );
}

/** All of them; those that name a fold stand last, under it, closed. `change(name, value)` is told what was typed. */
export function Fields({ fields, values, change, testid, disabled }) {
  const draw = (field) => (
    <Field
      key={field.name}
      field={field}
      id={`${testid}-${field.name}`}
      value={values[field.name] ?? initial(field)}
      disabled={disabled}
      onChange={(value) => change(field.name, value)}
    />
  );
  const folded = fields.filter((field) => field.fold);
  return (
    <>
      {fields.filter((field) => !field.fold).map(draw)}
      {folded.length > 0 && (
        <details className="by-details by-fold">
          <summary data-testid={`${testid}-fold`}>{folded[0].fold}</summary>
          <div className="by-form">{folded.map(draw)}</div>
        </details>
      )}
    </>
  );
}
