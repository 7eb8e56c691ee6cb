// Small things that need the browser: short addresses and digests, local times, copying, signing out.
import { useEffect, useState } from "react";
import { Badge, Button, IconButton, Text } from "@radix-ui/themes";
import { Check, Copy, LogOut } from "lucide-react";
import { api } from "./http.js";

async function copy(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  // Plain http on a LAN has no clipboard API.
  const area = Object.assign(document.createElement("textarea"), { value: text });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

export function CopyButton({ value, label = "Copy", testid }) {
  const [done, setDone] = useState(false);
  const press = async (event) => {
    event.preventDefault();
    event.stopPropagation();
    await copy(value);
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  return (
    <IconButton
      type="button"
      size="1"
      variant="ghost"
      color="gray"
      aria-label={label}
      title={label}
      onClick={press}
      data-testid={testid}
    >
      {done ? <Check size={13} /> : <Copy size={13} />}
    </IconButton>
  );
}

/** An address or digest cut short unless `whole`, with a copy button; marks the reader's own wallet. */
export function Short({ value, mine = "", href = "", whole = false, testid }) {
  if (!value) return null;
  const cut = value.length > 20 && !whole ? `${value.slice(0, 6)}…${value.slice(-4)}` : value;
  const text = (
    <span className="by-mono" title={value}>
      {cut}
    </span>
  );
  return (
    <span className={whole ? "by-short by-whole" : "by-short"} data-testid={testid} data-value={value}>
      {href ? (
        <a href={href} className="by-link">
          {text}
        </a>
      ) : (
        text
      )}
      <CopyButton value={value} label={`Copy ${value}`} />
      {mine && mine.toLowerCase() === value.toLowerCase() && (
        <Badge size="1" variant="soft">
          you
        </Badge>
      )}
    </span>
  );
}

const AGES = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];

function ago(time) {
  const seconds = Math.max(0, Math.round((Date.now() - time.getTime()) / 1000));
  if (seconds < 2) return "just now";
  const [unit, size] = AGES.find(([, size]) => seconds >= size);
  return new Intl.RelativeTimeFormat("en", { numeric: "always" }).format(-Math.floor(seconds / size), unit);
}

/** A UTC instant in the reader's own time, or (`relative`) how long ago it was; the exact one is its title. */
export function When({ iso, empty = "—", dateOnly, relative }) {
  const [, tick] = useState(0);
  useEffect(() => {
    if (!relative) return undefined;
    const timer = setInterval(() => tick((count) => count + 1), 10_000);
    return () => clearInterval(timer);
  }, [relative]);
  if (!iso) return <span>{empty}</span>;
  const time = new Date(typeof iso === "number" ? iso * 1000 : iso);
  if (Number.isNaN(time.getTime())) return <span>{iso}</span>;
  const day = { year: "numeric", month: "short", day: "numeric" };
  const absolute = dateOnly
    ? time.toLocaleDateString(undefined, day)
    : time.toLocaleString(undefined, { ...day, hour: "2-digit", minute: "2-digit" });
  return (
    <time dateTime={time.toISOString()} title={time.toISOString()} className="by-time">
      {relative ? ago(time) : absolute}
    </time>
  );
}

export function SignOut({ testid = "signout" }) {
  const [problem, setProblem] = useState("");
  const leave = async () => {
    try {
      await api("DELETE", "/sessions/current");
      window.location.assign("/");
    } catch (error) {
      setProblem(error.message);
    }
  };
  return (
    <>
      <Button variant="soft" color="gray" data-testid={testid} onClick={leave}>
        <LogOut size={15} aria-hidden /> Sign out
      </Button>
      {problem && (
        <Text size="2" color="red" role="alert">
          {problem}
        </Text>
      )}
    </>
  );
}
