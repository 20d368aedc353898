import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import {
  authorizationHeader,
  type Credential,
  formatCredential,
  parseCredential,
} from "../../../src/gitwire/transport/credential.ts";
import { cheapCredential, fillCredential } from "../../../src/gitwire/transport/credentials.ts";
import type { HttpUrl } from "../../../src/gitwire/transport/url.ts";
import { parseUrl } from "../../../src/gitwire/transport/url.ts";
import { gitConfig } from "../../support/connect.ts";
import { tempDir } from "../../support/temp.ts";

type Config = readonly (readonly [name: string, value: string])[];
type Env = Record<string, string | undefined>;

/** Our answer in git's words: `username=..` and `password=..`, or undefined. */
async function ours(url: string, config: Config, env: Env): Promise<string | undefined> {
  const found = await fillCredential(parseUrl(url) as HttpUrl, gitConfig(config), env, []);
  return found && `${found.credential.username}/${found.credential.password}`;
}

/** What `git credential fill` says to the same configuration. */
function gits(url: string, config: Config, env: Env): string | undefined {
  const args = config.flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const run = spawnSync("git", [...args, "credential", "fill"], {
    input: `url=${url}\n\n`,
    cwd: tempDir("cwd"),
    env: { ...process.env, ...env, GIT_TERMINAL_PROMPT: "0" },
  });
  if (run.status !== 0) return undefined;
  const values = new Map(
    run.stdout
      .toString()
      .split("\n")
      .map((line) => line.split("=", 2) as [string, string]),
  );
  return `${values.get("username")}/${values.get("password")}`;
}

/** A helper program that says `lines` when asked, and logs what it is told. */
function helper(name: string, lines: readonly string[]): { dir: string; log: () => string } {
  const dir = tempDir("helper");
  const log = path.join(dir, "log");
  const say = lines.map((line) => `echo '${line}'`).join("; ");
  const script = `#!/bin/sh\n{ echo "$@"; cat; } >> ${log}\nif [ "$1" = get ]; then ${say === "" ? ":" : say}; fi\n`;
  fs.writeFileSync(path.join(dir, `git-credential-${name}`), script, { mode: 0o755 });
  return { dir, log: () => (fs.existsSync(log) ? fs.readFileSync(log, "utf8") : "") };
}

const one = helper("one", ["username=alice", "password=1"]);
const nameOnly = helper("nameonly", ["username=bob"]);
const silent = helper("silent", []);
const quitter = helper("quitter", ["quit=1"]);
const HOME = tempDir("home");
fs.writeFileSync(path.join(HOME, ".git-credentials"), "https://stored:s3cret@a.example\nhttps://w:8@a.example:8443\n");
const ENV: Env = {
  HOME,
  PATH: [one.dir, nameOnly.dir, silent.dir, quitter.dir, process.env.PATH].join(":"),
};
const ASKPASS = path.join(tempDir("askpass"), "ask");
fs.writeFileSync(ASKPASS, '#!/bin/sh\necho "$1" >&2\ncase "$1" in User*) echo asked;; *) echo "pw for $1";; esac\n', {
  mode: 0o755,
});

const CASES: Readonly<Record<string, { url?: string; config: Config; env?: Env }>> = {
  "no helper": { config: [] },
  store: { config: [["credential.helper", "store"]] },
  "store, with a port": { url: "https://a.example:8443/x", config: [["credential.helper", "store"]] },
  "store, another user": { url: "https://other@a.example/x", config: [["credential.helper", "store"]] },
  "store --file": { config: [["credential.helper", `store --file ${HOME}/.git-credentials`]] },
  "store --file=": { config: [["credential.helper", `store --file="${HOME}/.git-credentials"`]] },
  "store --file ~/": { config: [["credential.helper", "store --file ~/.git-credentials"]] },
  "store with an option we leave to git": { config: [["credential.helper", `store --file "$HOME"/.git-credentials`]] },
  "a helper by name": { config: [["credential.helper", "one"]] },
  "a helper by path, with arguments": { config: [["credential.helper", `${one.dir}/git-credential-one`]] },
  "a shell command": { config: [["credential.helper", "!f() { echo username=sh; echo password=$1; }; f"]] },
  "a helper that fails": {
    config: [
      ["credential.helper", "!echo username=x; echo password=y; exit 1; :"],
      ["credential.helper", "one"],
    ],
  },
  "the first that knows": {
    config: [
      ["credential.helper", "silent"],
      ["credential.helper", "store"],
      ["credential.helper", "one"],
    ],
  },
  "one knows the name, the next the password": {
    config: [
      ["credential.helper", "nameonly"],
      ["credential.helper", "!cat >/dev/null; echo password=later; :"],
    ],
  },
  "an empty value clears the chain": {
    config: [
      ["credential.helper", "store"],
      ["credential.helper", ""],
      ["credential.helper", "one"],
    ],
  },
  "a helper for the URL counts beside one for all, whatever the order": {
    config: [
      ["credential.https://a.example.helper", "silent"],
      ["credential.helper", "one"],
    ],
  },
  "a helper for another URL": {
    config: [
      ["credential.https://b.example.helper", "one"],
      ["credential.helper", "store"],
    ],
  },
  "a helper for a path": { config: [["credential.https://a.example/org.helper", "one"]] },
  "a helper for another path": { config: [["credential.https://a.example/other.helper", "one"]] },
  "a user name from the configuration": {
    config: [
      ["credential.https://a.example.username", "carol"],
      ["credential.helper", "!cat >/dev/null; echo password=for-carol; :"],
    ],
  },
  "a user name that rules out what is stored": {
    config: [
      ["credential.username", "carol"],
      ["credential.helper", "store"],
    ],
  },
  quit: {
    config: [
      ["credential.helper", "quitter"],
      ["credential.helper", "one"],
    ],
  },
  askpass: { config: [], env: { GIT_ASKPASS: ASKPASS } },
  "SSH_ASKPASS, where there is no other": { config: [], env: { SSH_ASKPASS: ASKPASS } },
  "GIT_ASKPASS goes before the others": {
    config: [["core.askpass", "/nonexistent"]],
    env: { GIT_ASKPASS: ASKPASS, SSH_ASKPASS: "/nonexistent" },
  },
  "core.askPass goes before SSH_ASKPASS": { config: [["core.askpass", ASKPASS]], env: { SSH_ASKPASS: "/nonexistent" } },
  "core.askPass": { config: [["core.askpass", ASKPASS]] },
  "askpass is asked for what is missing": {
    config: [["credential.helper", "nameonly"]],
    env: { GIT_ASKPASS: ASKPASS },
  },
  "a path counts with useHttpPath": {
    config: [
      ["credential.usehttppath", "true"],
      ["credential.helper", "store"],
    ],
  },
};

for (const [name, { url = "https://a.example/org/x.git", config, env = {} }] of Object.entries(CASES)) {
  test(`as git credential fill: ${name}`, async () => {
    expect(await ours(url, config, { ...ENV, ...env })).toEqual(gits(url, config, { ...ENV, ...env }));
  });
}

test("helpers are told what git tells them", async () => {
  const log = helper("told", ["username=u", "password=p", "password_expiry_utc=99999999999", "oauth_refresh_token=r"]);
  const config = gitConfig([["credential.helper", "told"]]);
  const env = { ...ENV, PATH: `${log.dir}:${process.env.PATH}` };
  const url = parseUrl("https://a.example:8443/x") as HttpUrl;
  const found = await fillCredential(url, config, env, ['Basic realm="x"']);
  await found!.approve();
  await found!.reject();
  const request = "capability[]=authtype\nprotocol=https\nhost=a.example:8443\n";
  const answer = "username=u\npassword=p\npassword_expiry_utc=99999999999\noauth_refresh_token=r\n";
  expect(log.log()).toBe(`get\n${request}wwwauth[]=Basic realm="x"\n\nstore\n${request}${answer}\n`);
});

test("what is refused is erased from every helper", async () => {
  const log = helper("told", ["username=u", "password=p"]);
  const file = path.join(tempDir("store"), "credentials");
  fs.writeFileSync(file, "https://u:p@a.example\n");
  const config = gitConfig([
    ["credential.helper", "told"],
    ["credential.helper", `store --file ${file}`],
  ]);
  const env = { ...ENV, PATH: `${log.dir}:${process.env.PATH}` };
  const found = await fillCredential(parseUrl("https://a.example/x") as HttpUrl, config, env, []);
  await found!.reject();
  expect(log.log()).toContain("erase\n");
  expect(fs.readFileSync(file, "utf8")).toBe("");
});

test("an expired password does not count", async () => {
  const config: Config = [
    ["credential.helper", "!cat >/dev/null; echo username=u; echo password=old; echo password_expiry_utc=1; :"],
    ["credential.helper", "one"],
  ];
  expect(await ours("https://a.example/x", config, ENV)).toBe("alice/1");
});

test("a ready-made credential is sent as it is", () => {
  const parsed = parseCredential("authtype=Bearer\ncredential=abc\n");
  expect(authorizationHeader(parsed)).toBe("Bearer abc");
  expect(authorizationHeader({ username: "ü", password: "p:w" })).toBe(
    `Basic ${Buffer.from("ü:p:w").toString("base64")}`,
  );
  expect(authorizationHeader({ username: "u", password: undefined })).toBeUndefined();
});

test("a value with a line break never reaches a helper", () => {
  const request = { protocol: "https", host: "a.example\nhost=evil.example", path: undefined, username: undefined };
  expect(() => formatCredential(request)).toThrow(/line break/);
  const credential: Credential = { username: "u", password: "p\r" };
  expect(() => formatCredential({ ...request, host: "a" }, credential)).toThrow(/line break/);
});

test("what costs nothing: the URL, ~/.netrc, the store; a program is not run", async () => {
  const cheap = async (url: string, config: Config, env: Env): Promise<string | undefined> => {
    const found = await cheapCredential(parseUrl(url) as HttpUrl, gitConfig(config), env);
    return found && `${found.credential.username}/${found.credential.password}`;
  };
  const home = tempDir("home");
  fs.writeFileSync(path.join(home, ".netrc"), "machine n.example login nora password n\n");
  const env = { ...ENV, HOME: home };
  expect(await cheap("https://u:p@a.example/x", [["credential.helper", "store"]], ENV)).toBe("u/p");
  expect(await cheap("https://n.example/x", [], env)).toBe("nora/n");
  expect(await cheap("https://nora@n.example/x", [], env)).toBe("nora/n");
  expect(await cheap("https://other@n.example/x", [], env)).toBeUndefined();
  expect(await cheap("https://a.example/x", [["credential.helper", "store"]], ENV)).toBe("stored/s3cret");
  const before = one.log();
  const chain: Config = [
    ["credential.helper", "one"],
    ["credential.helper", "store"],
  ];
  expect(await cheap("https://a.example/x", chain, ENV)).toBeUndefined();
  expect(one.log()).toBe(before);
});
