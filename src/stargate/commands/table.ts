/** Every command of git-kv-stargate. A verb is the module beside this file that exports `run(context)`. */

import { builtins } from "../../cli/builtins.ts";
import type { Command, Program } from "../../cli/command.ts";
import { COMMON_FLAGS } from "../../cli/globals.ts";
import type { ArgSpec, FlagSpec } from "../../cli/spec.ts";

const TOPICS = ["Serve", "Operate", "Other"] as const;

const REPO: FlagSpec = {
  name: "repo",
  type: "string",
  value: "PATH",
  complete: "directory",
  summary: "The repository (default: STARGATE_REPO, else the one we are in)",
};
const REPOS: FlagSpec = {
  name: "repo",
  type: "repeatable",
  value: "[NAME=]PATH",
  complete: "directory",
  summary: "A repository to serve, under its folder's name unless NAME is given",
};
const MIRROR_REMOTE: FlagSpec = {
  name: "mirror-remote",
  type: "string",
  value: "NAME|URL",
  summary: "The mirror: a remote of the repository's config, or an address",
};

const DIR: ArgSpec = { name: "dir", count: "one", summary: "The repository", complete: "directory" };

const OWNED =
  "Stands in for git's program of that name. A repository of somebody else is refused, as git does, unless safe.directory allows it: its config and its hooks name programs.";

const COMMANDS: readonly Command[] = [
  {
    name: "init",
    topic: "Serve",
    summary: "Set a Stargate up: repository, hooks, settings, mirror and a first policy",
    flags: [
      {
        name: "repo",
        type: "string",
        value: "PATH",
        complete: "directory",
        summary: "Where the bare repository is, or is to be",
      },
      { name: "mirror-remote", type: "string", value: "URL", summary: "Address of the mirror" },
      { name: "push-url", type: "string", value: "URL", summary: "The Stargate's own address, for the policy" },
      {
        name: "admin-key",
        type: "string",
        value: "FILE",
        complete: "file",
        summary: "SSH public key of the first admin; signatures are required then",
      },
      { name: "ns", type: "string", value: "NAME", summary: "Namespace of the first policy (default main)" },
      {
        name: "object-format",
        type: "string",
        choices: ["sha1", "sha256"],
        summary: "Of a new repository (default GIT_DEFAULT_HASH, else sha1)",
      },
      {
        name: "catch-up",
        type: "boolean",
        summary: "After a restore: take over from the mirror, verified, what follows on what is here",
      },
      {
        name: "replace-hooks",
        type: "boolean",
        summary: "Move hooks of somebody else away, and have git take the repository's",
      },
    ],
    details:
      "May be run again, beside a daemon too, where it looks at the hooks alone: what is there stays, and what is missing is " +
      "added. Hooks of somebody else are refused, or with --replace-hooks kept as NAME.replaced, where git does not run them.",
    load: () => import("./init.ts"),
  },
  {
    name: "serve",
    topic: "Serve",
    summary: "Run the Stargate of one or more repositories",
    flags: [
      REPOS,
      {
        name: "listen",
        type: "string",
        value: "HOST:PORT",
        summary: "Address of the HTTP listener (default 127.0.0.1:8418); port 0 takes a free one",
      },
      {
        name: "admin-listen",
        type: "string",
        value: "HOST:PORT",
        summary: "Address for operators: status page, health and metrics (default 127.0.0.1:9418); 'off' for none",
      },
      {
        name: "socket",
        type: "string",
        value: "PATH",
        complete: "file",
        summary: "Path of the unix socket (default: stargate/socket in the repository)",
      },
      MIRROR_REMOTE,
      {
        name: "policy-path",
        type: "string",
        value: "FILE",
        summary: "Path of the policy on the default branch (default .kv/policy.yaml)",
      },
    ],
    details: `Prints one line for each listener on stderr when it is ready. SIGTERM finishes what is under way and exits 0.
Flags win over STARGATE_LISTEN, STARGATE_ADMIN_LISTEN, STARGATE_SOCKET, STARGATE_MIRROR_REMOTE, STARGATE_POLICY_PATH and STARGATE_ANONYMOUS_READ, and
these over stargate.yaml in the repository.`,
    examples: ["serve --repo /srv/git/kv.git", "serve --repo org/kv.git=/srv/git/kv.git --listen 127.0.0.1:0"],
    load: () => import("./serve.ts"),
  },
  {
    name: "shell",
    topic: "Serve",
    summary: "Serve one SSH session (sshd's forced command)",
    flags: [
      REPOS,
      { name: "user", type: "string", value: "NAME", summary: "Who has logged in, for the log (default: the account)" },
      {
        name: "scope",
        type: "string",
        choices: ["read", "write", "admin"],
        summary: "The most they may do (default: write; with --key what the policy says)",
      },
      {
        name: "key",
        type: "string",
        value: "FINGERPRINT",
        summary: "The SSH key they logged in with: the policy in force says what it may do",
      },
    ],
    details:
      "Runs what SSH_ORIGINAL_COMMAND asks for: git-upload-pack, git-receive-pack, 'git-kv-stargate status' or 'git-kv-stargate sync' on one repository of --repo or STARGATE_REPO.",
    examples: ["shell --repo /srv/git/kv.git --user alice"],
    load: () => import("./shell.ts"),
  },
  {
    name: "authorized-keys",
    topic: "Serve",
    summary: "Print the policies' keys for sshd's AuthorizedKeysCommand",
    args: [
      { name: "user", count: "optional", summary: "The account sshd asks about (%u)" },
      { name: "type", count: "optional", summary: "Only this key: its type (%t)" },
      { name: "key", count: "optional", summary: "and its base64 (%k)" },
    ],
    flags: [
      REPOS,
      {
        name: "account",
        type: "string",
        value: "NAME",
        summary: "The account the keys log in to (default: the one this runs as); nothing is printed for others",
      },
    ],
    details:
      "Writers, readers and admins get in, each to the repositories whose policy lists the key, and may run 'git-kv-stargate shell' and nothing else.",
    examples: [
      "authorized-keys --repo /srv/git/kv.git",
      "authorized-keys --repo /srv/git/kv.git git ssh-ed25519 AAAA...",
    ],
    load: () => import("./authorized-keys.ts"),
  },
  {
    name: "receive-pack",
    topic: "Serve",
    summary: "Take a push on standard input and output",
    args: [DIR],
    details: OWNED,
    load: async () => ({ run: (await import("./pack-service.ts")).receivePack }),
  },
  {
    name: "upload-pack",
    topic: "Serve",
    summary: "Serve a fetch on standard input and output",
    args: [DIR],
    details: OWNED,
    load: async () => ({ run: (await import("./pack-service.ts")).uploadPack }),
  },
  {
    name: "hook",
    topic: "Serve",
    summary: "What the hooks of the repository run",
    hidden: true,
    args: [
      {
        name: "hook",
        count: "one",
        choices: ["pre-receive", "proc-receive", "update", "post-receive"],
        summary: "Which hook",
      },
      { name: "args", count: "any", summary: "What git gives the hook" },
    ],
    load: () => import("./hook.ts"),
  },
  {
    name: "combine-packs",
    topic: "Serve",
    summary: "What the daemon runs to have packs combined",
    hidden: true,
    load: () => import("./combine-packs.ts"),
  },
  {
    name: "status",
    topic: "Operate",
    summary: "Show tips, policy and mirror of a Stargate",
    flags: [REPO],
    load: () => import("./status.ts"),
  },
  {
    name: "log",
    topic: "Operate",
    summary: "Show who pushed what, when and through which door, and what was refused",
    flags: [
      REPO,
      { name: "ns", type: "string", value: "NAME", summary: "Only this namespace" },
      { name: "limit", type: "string", value: "N", summary: "At most so many lines (default 50)" },
      {
        name: "since",
        type: "string",
        value: "TIME",
        summary: "Only what is not older: a time, or a duration back such as 2h",
      },
      { name: "rejected", type: "boolean", summary: "Only what was refused" },
    ],
    details:
      "The newest first. The newest 10,000 refusals are kept; what was accepted is kept for good. Values and their sizes are never in it.",
    examples: ["log --since 2h", "log --rejected --json --limit 1000"],
    load: () => import("./log.ts"),
  },
  {
    name: "sync",
    topic: "Operate",
    summary: "Show how the mirror stands ref by ref, and bring it in order",
    flags: [
      REPO,
      { name: "ns", type: "string", value: "NAME", summary: "Only this namespace (default: all, and the policy)" },
      { name: "dry-run", type: "boolean", summary: "Only show how every ref stands (default)" },
      { name: "repair", type: "boolean", summary: "Push what is behind or missing; never overwrite" },
      { name: "force", type: "boolean", summary: "Overwrite besides what is ahead or has diverged (admin)" },
      { name: "fork", type: "boolean", summary: "Take writes again beside what the mirror has of its own (admin)" },
    ],
    details:
      "Exit 11 where something is left that only --force would overwrite, 5 where the mirror did not take something.",
    load: () => import("./sync.ts"),
  },
  {
    name: "fsck",
    topic: "Operate",
    summary: "Check refs, objects, attestations, journal and hooks against each other",
    flags: [REPO],
    details: `Reads everything and changes nothing; may run beside the daemon. Exit status 0: nothing is wrong; 8: a ledger does not say what it
holds; 5: anything else is wrong.`,
    load: () => import("./fsck.ts"),
  },
  {
    name: "backup",
    topic: "Operate",
    summary: "Back a repository up, while it is served",
    flags: [
      REPO,
      {
        name: "to",
        type: "string",
        value: "PLACE",
        complete: "directory",
        summary: "A folder, or s3://BUCKET/PREFIX of an S3-compatible store",
      },
      { name: "full", type: "boolean", summary: "Write all objects, not only those the last backup does not have" },
    ],
    details: `Writes what the last backup at the same place does not have, reads it back, and prints the backup's id. The refs and
the journal are of one instant. For s3:// the credentials are S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY (or AWS_...), and S3_ENDPOINT names
another store than Amazon's.`,
    examples: ["backup --repo /srv/git/kv.git --to /backup/kv", "backup --repo /srv/git/kv.git --to s3://backups/kv"],
    load: () => import("./backup.ts"),
  },
  {
    name: "restore",
    topic: "Operate",
    summary: "Make a repository from a backup, where it verifies",
    flags: [
      {
        name: "from",
        type: "string",
        value: "PLACE",
        complete: "directory",
        summary: "Where the backups are: a folder, or s3://BUCKET/PREFIX",
      },
      {
        name: "repo",
        type: "string",
        value: "PATH",
        complete: "directory",
        summary: "Where the repository is to be; nothing may be there",
      },
      { name: "at", type: "string", value: "ID", summary: "Which backup (default: the newest)" },
      { name: "check", type: "boolean", summary: "Only verify the backup" },
    ],
    details: `Every file is compared with its SHA-256, every object with its id, and the whole is checked as by 'fsck'. What does not verify is
refused, and nothing of it stays.`,
    examples: ["restore --from /backup/kv --repo /srv/git/kv.git", "restore --from s3://backups/kv --check"],
    load: () => import("./restore.ts"),
  },
  {
    name: "token add",
    topic: "Operate",
    summary: "Make an access token and print it, once",
    flags: [
      REPO,
      {
        name: "name",
        type: "string",
        value: "NAME",
        summary: "What the token is called in the log and in 'token list'",
      },
      {
        name: "scope",
        type: "string",
        choices: ["read", "write", "admin"],
        summary: "What it allows (default write)",
      },
      {
        name: "expires",
        type: "string",
        value: "TIME",
        summary: "When it ends: a time, or a duration from now such as 90d (default: never)",
      },
      {
        name: "ns",
        type: "repeatable",
        value: "NAME",
        summary: "Let it write to this namespace only",
      },
    ],
    load: async () => ({ run: (await import("./token.ts")).add }),
  },
  {
    name: "token list",
    topic: "Operate",
    summary: "List the access tokens by name",
    flags: [REPO],
    load: async () => ({ run: (await import("./token.ts")).list }),
  },
  {
    name: "token revoke",
    topic: "Operate",
    summary: "Take an access token back",
    args: [{ name: "name", count: "one", summary: "The token's name" }],
    flags: [REPO],
    load: async () => ({ run: (await import("./token.ts")).revoke }),
  },
];

export const PROGRAM: Program = {
  name: "git-kv-stargate",
  title: "git-kv-stargate",
  summary: "The gateway that admits pushes to git-kv namespaces and keeps their mirrors.",
  topics: TOPICS,
  globals: COMMON_FLAGS,
  manual: async () => (await import("./manual.ts")).MANUAL,
  answers: async () => (await import("./answers.ts")).ANSWERS,
  commands: [...COMMANDS, ...builtins("Other", () => PROGRAM)],
};
