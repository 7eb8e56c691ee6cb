// Signing in with a wallet, and signing a typed document with the wallet of the session.
import { useState, useSyncExternalStore } from "react";
import { Button, Callout, Dialog, Flex, Grid, Separator, Text } from "@radix-ui/themes";
import { Wallet } from "lucide-react";
import { browserWallets, explain, signIn, signTyped, testWallets, walletStore } from "./chain.js";

const short = (address) => `${address.slice(0, 6)}…${address.slice(-4)}`;

export function Problem({ text, testid }) {
  if (!text) return null;
  return (
    <Callout.Root color="red" size="1" role="alert" data-testid={testid} className="by-callout">
      <Callout.Text>{text}</Callout.Text>
    </Callout.Root>
  );
}

function useBrowserWallets() {
  const store = walletStore();
  useSyncExternalStore(store.subscribe, store.getProviders, store.getProviders);
  return browserWallets();
}

function WalletButton({ wallet, busy, onPick, testid, children }) {
  return (
    <Button
      variant="surface"
      color="gray"
      size="2"
      className="by-wallet"
      data-testid={testid}
      disabled={Boolean(busy) && busy !== wallet.id}
      loading={busy === wallet.id}
      onClick={() => onPick(wallet.id)}
    >
      {children}
    </Button>
  );
}

/** A button that opens the choice of wallets; on success the page reloads, so that it carries the new cookie. */
export function SignIn({ network, label = "Sign in", size = "2", testid = "signin-open" }) {
  const [open, setOpen] = useState(false);
  const [busy, setBusy] = useState("");
  const [problem, setProblem] = useState("");
  const wallets = useBrowserWallets();
  const ready = Boolean(network?.chain_id);

  const pick = async (id) => {
    setBusy(id);
    setProblem("");
    try {
      await signIn(id, network);
      window.location.reload();
    } catch (error) {
      setProblem(explain(error));
      setBusy("");
    }
  };

  return (
    <Dialog.Root open={open} onOpenChange={setOpen}>
      <Dialog.Trigger>
        <Button type="button" size={size} data-testid={testid} disabled={!ready}>
          <Wallet size={16} aria-hidden /> {label}
        </Button>
      </Dialog.Trigger>
      <Dialog.Content maxWidth="480px" data-testid="signin-dialog">
        <Dialog.Title>Sign in with your wallet</Dialog.Title>
        <Dialog.Description size="2" color="gray" mb="4">
          You sign a short message that says who you are. It costs nothing and moves nothing.
        </Dialog.Description>
        <Flex direction="column" gap="3">
          {wallets.map((wallet) => (
            <WalletButton key={wallet.id} wallet={wallet} busy={busy} onPick={pick} testid={`wallet-${wallet.id}`}>
              {wallet.icon ? <img src={wallet.icon} width="20" height="20" alt="" /> : <Wallet size={18} aria-hidden />}
              {wallet.name}
            </WalletButton>
          ))}
          {wallets.length === 0 && (
            <Text size="2" color="gray" data-testid="no-wallet">
              No wallet was found in this browser. {network?.test_wallets ? "Use a test account below, or i" : "I"}
              nstall a wallet extension and reload.
            </Text>
          )}
          {network?.test_wallets && (
            <>
              <Separator size="4" my="1" />
              <Text size="2" weight="bold">
                Local test wallet
              </Text>
              <Callout.Root color="amber" size="1" className="by-callout">
                <Callout.Text>
                  For trying Byline on this server's own chain. The keys of these accounts are public: never send them
                  anything of value.
                </Callout.Text>
              </Callout.Root>
              <Grid columns={{ initial: "1", xs: "2" }} gap="2">
                {testWallets.map((wallet) => (
                  <WalletButton
                    key={wallet.id}
                    wallet={wallet}
                    busy={busy}
                    onPick={pick}
                    testid={`test-account-${wallet.index + 1}`}
                  >
                    <span>{wallet.name}</span>
                    <span className="by-mono by-faint" title={wallet.address}>
                      {short(wallet.address)}
                    </span>
                  </WalletButton>
                ))}
              </Grid>
            </>
          )}
          <Problem text={problem} testid="signin-error" />
        </Flex>
      </Dialog.Content>
    </Dialog.Root>
  );
}

/** A button that signs `document` (EIP-712) and hands the signature to `onSigned`. */
export function WalletSign({ network, wallet, document, label, testid = "wallet-sign", disabled, onSigned }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const sign = async () => {
    setBusy(true);
    setProblem("");
    try {
      onSigned?.(await signTyped({ network, wallet, document }));
    } catch (error) {
      setProblem(explain(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <Flex direction="column" gap="3" align="start">
      <Button
        type="button"
        size="3"
        data-testid={testid}
        loading={busy}
        disabled={disabled || !document?.types}
        onClick={sign}
      >
        {label}
      </Button>
      <Problem text={problem} testid={`${testid}-error`} />
    </Flex>
  );
}
