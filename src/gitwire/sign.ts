/**
 * Who signs, by git's own settings (git-config: user.signingKey, gpg.format, gpg.program, gpg.<format>.program,
 * gpg.ssh.defaultKeyCommand), and a key to sign with where they name none.
 */

import * as path from "node:path";
import { KvError } from "../errors.ts";
import type { GitConfig } from "./config.ts";
import type { SshPublicKey } from "./object/ssh-key.ts";
import { firstLineOf, gpgHolds, signWithGpg } from "./sign-program.ts";
import {
  agentKeys,
  keyInFile,
  namedKey,
  type Signer,
  type SigningContext,
  type SshKeySource,
  sshProgramSigner,
  sshSigner,
} from "./sign-ssh.ts";

/** Where settings come from. */
export interface SigningSettings extends SigningContext {
  readonly config: Pick<GitConfig, "get" | "getPath">;
  /** `Name <email>`: what gpg is asked for where no key is named, as git does. */
  readonly committer: string;
}

/** Key files that ssh uses by itself, in ssh's order. */
const DEFAULT_KEYS = ["id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"];

/** The signer that git's settings name; undefined where they name none. Throws CONFIG, UNSUPPORTED. */
export async function configuredSigner(settings: SigningSettings): Promise<Signer | undefined> {
  const { config } = settings;
  const format = config.get("gpg.format");
  const key = config.get("user.signingKey") || undefined;
  switch (format) {
    case "ssh":
      return configuredSshSigner(settings, key);
    case "x509":
      throw new KvError("UNSUPPORTED", "gpg.format is x509, and no Stargate can verify such signatures", {
        hint: "git config gpg.format ssh",
      });
    case "openpgp":
      return gpgSigner(settings, key);
    case undefined:
      return key === undefined ? undefined : gpgSigner(settings, key);
  }
  throw new KvError("CONFIG", `gpg.format is '${format}'`, { hint: "git knows ssh, openpgp and x509" });
}

async function configuredSshSigner(settings: SigningSettings, key: string | undefined): Promise<Signer | undefined> {
  const { config } = settings;
  const value =
    key === undefined ? await defaultKey(settings) : isLiteral(key) ? key : config.getPath("user.signingKey")!;
  if (value === undefined) return undefined;
  const source = namedKey(settings, value);
  return signerOf(settings, source, value);
}

const isLiteral = (key: string): boolean => /^(?:key::|ssh-)/.test(key);

function signerOf(settings: SigningSettings, source: SshKeySource, value: string): Promise<Signer> | Signer {
  const program = settings.config.getPath("gpg.ssh.program");
  return program ? sshProgramSigner(settings, program, source, value) : sshSigner(settings, source);
}

/** What gpg.ssh.defaultKeyCommand prints; undefined where it is not set. */
async function defaultKey(settings: SigningSettings): Promise<string | undefined> {
  const setting = "gpg.ssh.defaultKeyCommand";
  const command = settings.config.get(setting);
  if (!command) return undefined;
  const line = await firstLineOf(settings, command, setting);
  if (isLiteral(line)) return line;
  throw new KvError("CONFIG", `${setting} printed no key`, {
    hint: "its first line must be 'key::' and a public key; 'ssh-add -L' alone is not enough",
  });
}

/** A signer that runs gpg. `key` is what user.signingKey says; without it gpg is asked for the committer's key. */
export function gpgSigner(settings: SigningSettings, key: string | undefined): Signer {
  if (key !== undefined && isLiteral(key)) {
    throw new KvError("CONFIG", "user.signingKey is an SSH key, and gpg.format is not ssh", {
      hint: "git config gpg.format ssh",
    });
  }
  const program = gpgProgram(settings);
  const who = key ?? settings.committer;
  return {
    description: `OpenPGP key ${who} (${program})`,
    sign: (payload) => signWithGpg(settings, program, who, payload),
  };
}

const gpgProgram = ({ config }: SigningSettings): string =>
  config.getPath("gpg.openpgp.program") || config.getPath("gpg.program") || "gpg";

/** A signer for the first of the OpenPGP keys (by fingerprint) whose private half gpg holds. */
export async function defaultGpgSigner(
  settings: SigningSettings,
  fingerprints: readonly string[],
): Promise<Signer | undefined> {
  for (const fingerprint of fingerprints) {
    if (await gpgHolds(settings, gpgProgram(settings), fingerprint)) return gpgSigner(settings, fingerprint);
  }
  return undefined;
}

/** What was looked at for a key nobody named. */
export interface FoundSigner {
  readonly signer: Signer | undefined;
  /** Each place, for a message. */
  readonly looked: readonly string[];
}

/**
 * The first key of the agent, or else in ~/.ssh, that `fits`. A file that cannot be used is passed over: nobody has asked for
 * it by name.
 */
export async function defaultSshSigner(
  settings: SigningSettings,
  fits: (key: SshPublicKey) => boolean,
): Promise<FoundSigner> {
  const { env } = settings;
  const held = await agentKeys(settings);
  const count = held.length === 1 ? "1 key" : `${held.length} keys`;
  const looked = [env.SSH_AUTH_SOCK ? `the SSH agent at SSH_AUTH_SOCK, ${count}` : "SSH_AUTH_SOCK is not set"];
  const inAgent = held.find(({ key }) => fits(key));
  if (inAgent !== undefined) {
    return { signer: await sshSigner(settings, { publicKey: inAgent.key, file: undefined }), looked };
  }
  for (const name of env.HOME ? DEFAULT_KEYS : []) {
    const file = path.join(env.HOME!, ".ssh", name);
    try {
      const source = keyInFile(file);
      if (source === undefined) continue;
      looked.push(file);
      if (fits(source.publicKey)) return { signer: await signerOf(settings, source, file), looked };
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
      looked.push(`${file} (${error.message})`);
    }
  }
  if (looked.length === 1) looked.push("no key in ~/.ssh");
  return { signer: undefined, looked };
}
