// Choosing the file of a datanet's next version.
import { useRef, useState } from "react";
import { Button, Flex, Progress, Text, TextField } from "@radix-ui/themes";
import { FileUp } from "lucide-react";
import { sendDraft, tooLarge } from "./draft.js";
import { Problem } from "./wallet.jsx";

const ACCEPTED = ".jsonl,.json,.csv,.parquet,.md,.markdown,.txt";
const PREVIEW_CHARACTERS = 400;

/** Uploads a draft of a datanet's next version; `onDraft` gets the API's document, texts shortened for show. */
export function UploadDraft({ datanetId, maxBytes, onDraft, testid = "upload" }) {
  const input = useRef(null);
  const [file, setFile] = useState(null);
  const [column, setColumn] = useState("");
  const [over, setOver] = useState(false);
  const [sent, setSent] = useState(null);
  const [problem, setProblem] = useState("");

  const choose = (files) => {
    if (!files?.length) return;
    setFile(files[0]);
    setProblem(tooLarge(files[0], maxBytes));
  };
  const upload = async () => {
    setProblem("");
    setSent(0);
    try {
      const draft = await sendDraft({ datanetId, file, column: column.trim(), maxBytes, onProgress: setSent });
      draft.preview = draft.preview.map((row) => ({ ...row, text: row.text.slice(0, PREVIEW_CHARACTERS) }));
      onDraft?.(draft);
    } catch (error) {
      setProblem(error.message);
    } finally {
      setSent(null);
    }
  };
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    choose(event.dataTransfer.files);
  };

  return (
    <Flex direction="column" gap="3">
      <label
        className={over ? "by-drop by-drop-over" : "by-drop"}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={drop}
      >
        <FileUp size={28} strokeWidth={1.5} aria-hidden />
        <Text size="3" weight="medium">
          {file ? file.name : "Choose a file, or drop it here"}
        </Text>
        <Text size="2" color="gray">
          {file ? `${(file.size / 1024).toFixed(1)} KiB` : "JSONL, CSV, Parquet, Markdown or plain text"}
        </Text>
        <input
          ref={input}
          type="file"
          accept={ACCEPTED}
          className="by-hidden"
          data-testid={`${testid}-file`}
          onChange={(event) => choose(event.target.files)}
        />
      </label>
      <Flex direction="column" gap="1">
        <Text as="label" htmlFor={`${testid}-column`} size="2" weight="medium">
          Column that names each row's contributor (optional)
        </Text>
        <Flex gap="3" wrap="wrap">
          <TextField.Root
            id={`${testid}-column`}
            className="by-grow"
            data-testid={`${testid}-column`}
            value={column}
            placeholder="contributor"
            autoComplete="off"
            onChange={(event) => setColumn(event.target.value)}
          />
          <Button data-testid={`${testid}-send`} disabled={!file} loading={sent !== null} onClick={upload}>
            Check the file
          </Button>
        </Flex>
        <Text size="1" color="gray">
          Wallet addresses. Without such a column, every row is credited to you.
        </Text>
      </Flex>
      {sent !== null && <Progress value={Math.round(sent * 100)} aria-label="Upload progress" />}
      <Problem text={problem} testid={`${testid}-error`} />
    </Flex>
  );
}
