/**
 * Signing with an SSH key, in the order `ssh-keygen -Y sign` has: the agent where it holds the key, else the private key file.
 * Files that no passphrase protects are read here; for others, and for security keys, ssh-keygen is run.
 */

import * as fs from "node:fs";
import * as path from "node:path";
import { KvError } from "../errors.ts";
import { LIMITS } from "../limits.ts";
import { readFileIfThere } from "./disk.ts";
import { decodeSshKey, parseSshKeyLine, type SshPublicKey, sshFingerprint } from "./object/ssh-key.ts";
import {
  isPrivateKey,
  type PrivateKeyFile,
  parsePrivateKey,
  SIGNING_HASH,
  signWithKey,
} from "./object/ssh-private-key.ts";
import { armorSshsig, encodeSshsig, sshsigMessage, verifySshsig } from "./object/sshsig.ts";
import { type ProgramContext, signWithSshProgram } from "./sign-program.ts";
import { type AgentIdentity, agentIdentities, agentSign } from "./ssh-agent.ts";

/** Something that signs commits. */
export interface Signer {
  /** What signs, for people: `ssh-ed25519 SHA256:... (agent)`. */
  readonly description: string;
  /** The armored signature over `payload`. */
  sign(payload: Buffer): Promise<string>;
}

/** The outside, as signing sees it. */
export interface SigningContext extends ProgramContext {
  /** Folder that relative paths are from. */
  readonly folder: string;
}

/** A public key and, where there is one, the file its private half is looked for in. */
export interface SshKeySource {
  readonly publicKey: SshPublicKey;
  readonly file: string | undefined;
}

const SSH_KEYGEN = "ssh-keygen";

/** The key that `user.signingKey` names: a literal (`key::ssh-ed25519 AAAA...`) or a file. Throws CONFIG. */
export function namedKey(context: SigningContext, value: string): SshKeySource {
  const literal = /^(?:key::\s*|(?=ssh-))(.*)$/s.exec(value)?.[1];
  if (literal !== undefined) {
    try {
      return { publicKey: parseSshKeyLine(literal), file: undefined };
    } catch (error) {
      throw new KvError("CONFIG", `user.signingKey: ${(error as Error).message}`, { cause: error });
    }
  }
  const file = path.resolve(context.folder, value);
  const source = keyInFile(file);
  if (source !== undefined) return source;
  throw new KvError("CONFIG", `user.signingKey names ${file}, and neither it nor ${file}.pub is there`, {
    hint: "git config user.signingKey ~/.ssh/id_ed25519.pub; a key itself begins with 'key::'",
  });
}

/** The key in `file`, private or public, or in `file.pub`; undefined where neither is there. Throws CONFIG. */
export function keyInFile(file: string): SshKeySource | undefined {
  const text = readKeyFile(file);
  try {
    if (text !== undefined && isPrivateKey(text)) {
      const publicText = readKeyFile(`${file}.pub`);
      const publicKey =
        parsePrivateKey(text).publicKey ?? (publicText === undefined ? undefined : parseSshKeyLine(publicText));
      if (publicKey === undefined) {
        throw new KvError("CONFIG", "a passphrase protects it, and there is no .pub file beside it");
      }
      return { publicKey, file };
    }
    const publicText = text ?? readKeyFile(`${file}.pub`);
    if (publicText === undefined) return undefined;
    return { publicKey: parseSshKeyLine(publicText), file: file.replace(/\.pub$/, "") };
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    throw new KvError("CONFIG", `the key in ${file} cannot be used: ${error.message}`, {
      cause: error,
      ...(error.hint !== undefined && { hint: error.hint }),
    });
  }
}

function readKeyFile(file: string): string | undefined {
  try {
    const size = fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    if (size > LIMITS.keyFile) throw new KvError("CONFIG", `${file} is too large to be a key`);
    return readFileIfThere(file)?.latin1Slice();
  } catch (error) {
    if (error instanceof KvError) throw error;
    throw new KvError("CONFIG", `the key file ${file} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

/** Keys of the agent that can sign; none where no agent answers. Certificates and keys too weak are left out. */
export async function agentKeys({ env, signal }: SigningContext): Promise<(AgentIdentity & { key: SshPublicKey })[]> {
  const socket = env.SSH_AUTH_SOCK;
  if (socket === undefined || socket === "") return [];
  const identities = await agentIdentities(socket, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    if (error instanceof KvError) return [];
    throw error;
  });
  return identities.flatMap((identity) => {
    try {
      return [{ ...identity, key: decodeSshKey(identity.blob) }];
    } catch {
      return [];
    }
  });
}

/** A signer for the key. Throws CONFIG where nothing here can sign with it. */
export async function sshSigner(context: SigningContext, { publicKey, file }: SshKeySource): Promise<Signer> {
  const name = `${publicKey.type} ${sshFingerprint(publicKey.blob)}`;
  const { blob, type } = publicKey;
  if ((await agentKeys(context)).some((identity) => identity.blob.equals(blob))) {
    const socket = context.env.SSH_AUTH_SOCK!;
    return checked(publicKey, `${name} (SSH agent)`, async (payload) =>
      envelope(blob, await agentSign(socket, blob, sshsigMessage(payload, SIGNING_HASH), context.signal)),
    );
  }
  const text = file === undefined ? undefined : readKeyFile(file);
  if (file === undefined || text === undefined) throw noPrivateKey(context, name, file);
  requirePrivate(file);
  const held = parseHeld(file, text);
  if (held.kind === "plain") {
    const { privateKey } = held;
    return checked(publicKey, `${name} (${file})`, async (payload) =>
      envelope(blob, signWithKey(type, privateKey, sshsigMessage(payload, SIGNING_HASH))),
    );
  }
  if (held.why === "passphrase") requireWayToAsk(context, file);
  return checked(publicKey, `${name} (${file}, through ${SSH_KEYGEN})`, (payload) =>
    signWithSshProgram(context, SSH_KEYGEN, { file }, payload),
  );
}

/** A signer that runs the program of gpg.ssh.program. */
export function sshProgramSigner(
  context: SigningContext,
  program: string,
  source: SshKeySource,
  value: string,
): Signer {
  const { publicKey, file } = source;
  const key =
    file === undefined ? { literal: value.replace(/^key::\s*/, "") } : { file: path.resolve(context.folder, value) };
  const description = `${publicKey.type} ${sshFingerprint(publicKey.blob)} (${program})`;
  return checked(publicKey, description, (payload) => signWithSshProgram(context, program, key, payload));
}

/** Whatever signed: a signature that does not verify must not leave this machine. */
function checked(publicKey: SshPublicKey, description: string, sign: (payload: Buffer) => Promise<string>): Signer {
  return {
    description,
    sign: async (payload) => {
      const armored = await sign(payload);
      try {
        if ((await verifySshsig(armored, payload)).blob.equals(publicKey.blob)) return armored;
      } catch (cause) {
        throw new KvError("IO", `what ${description} made is no good signature: ${(cause as Error).message}`, {
          cause,
        });
      }
      throw new KvError("IO", `what ${description} made is a signature by another key`);
    },
  };
}

const envelope = (blob: Buffer, signature: Buffer): string => armorSshsig(encodeSshsig(blob, SIGNING_HASH, signature));

function parseHeld(file: string, text: string): PrivateKeyFile {
  try {
    if (isPrivateKey(text)) return parsePrivateKey(text);
  } catch (cause) {
    throw new KvError("CONFIG", `the key in ${file} cannot be used: ${(cause as Error).message}`, { cause });
  }
  throw new KvError("CONFIG", `${file} is not a private key`);
}

function noPrivateKey({ env }: SigningContext, name: string, file: string | undefined): KvError {
  const agent = env.SSH_AUTH_SOCK ? "the SSH agent does not hold it" : "there is no SSH agent";
  const place = file === undefined ? "" : `, and its private half is not in ${file}`;
  return new KvError("CONFIG", `cannot sign with ${name}: ${agent}${place}`, {
    hint:
      file === undefined ? "add the key with ssh-add, or give user.signingKey the path of a file" : `ssh-add ${file}`,
  });
}

/** As OpenSSH does: a private key that others can read is no secret. */
function requirePrivate(file: string): void {
  const { mode, uid } = fs.statSync(file);
  if (uid !== process.getuid?.() || (mode & 0o077) === 0) return;
  throw new KvError("CONFIG", `others may read the private key ${file}, so it is not used`, {
    hint: `chmod 600 ${file}`,
  });
}

/** ssh-keygen asks for a passphrase on the terminal, or through SSH_ASKPASS; without either it cannot. */
function requireWayToAsk({ env }: SigningContext, file: string): void {
  if (env.SSH_ASKPASS) return;
  try {
    fs.closeSync(fs.openSync("/dev/tty", "r+"));
  } catch {
    throw new KvError("CONFIG", `a passphrase protects ${file}, and there is no terminal to ask for it`, {
      hint: `ssh-add ${file}, so that the SSH agent signs`,
    });
  }
}
