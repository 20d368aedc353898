/**
 * What the client does about redirects, logins, statuses and content types beside what git (2.39) does: the same server and the same
 * configuration for both, the requests compared. Where we differ on purpose the row says why.
 */

import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import type { KvError } from "../../../src/errors.ts";
import { lsRefs } from "../../../src/gitwire/protocol/fetch-pack.ts";
import { connect } from "../../../src/gitwire/transport/connect.ts";
import { rewriteUrl } from "../../../src/gitwire/transport/remote.ts";
import { AGENT, connectOptions } from "../../support/connect.ts";
import { tryGitAsync } from "../../support/git-async.ts";
import { startHttpBackend } from "../../support/http-backend.ts";
import { repositoryWith } from "../../support/push.ts";
import { tempDir } from "../../support/temp.ts";

setDefaultTimeout(60_000);

const { dir: REPOSITORY } = repositoryWith(1);
const ROOT = path.dirname(REPOSITORY);
const NAME = path.basename(REPOSITORY);

/** Requests seen: the host, the method, where to, and who asks. */
const seen: string[] = [];

function note(host: string, request: Request, url: URL): void {
  const given = request.headers.get("authorization");
  const who = given?.startsWith("Basic ") ? Buffer.from(given.slice(6), "base64").toString() : given;
  const also = request.headers.has("x-note") ? " x-note" : "";
  seen.push(`${host} ${request.method} ${url.pathname.replace(NAME, "R")}${url.search} ${who ?? "-"}${also}`);
}

const inner = startHttpBackend(ROOT);
const other = startHttpBackend(ROOT, {
  intercept: (request, url) => {
    note("other", request, url);
    return undefined;
  },
});
const server = startHttpBackend(ROOT, {
  intercept: (request, url) => {
    note("server", request, url);
    const [, place = "", rest = ""] = /^\/([^/]+)(\/.*)$/.exec(url.pathname) ?? [];
    return answer(place, rest, request, url);
  },
});
afterAll(() => {
  for (const one of [inner, other, server]) one.stop();
});

/** What the server does at `place`: the first folder of the address. */
function answer(place: string, rest: string, request: Request, url: URL): Response | Promise<Response> {
  const [kind = "", detail = ""] = place.split("-");
  const isDiscovery = rest.endsWith("/info/refs");
  const to = (status: number, location: string): Response =>
    new Response(null, { status, headers: { Location: location } });
  switch (kind) {
    case "moved":
      return to(Number(detail), `/at${rest}${url.search}`);
    case "later":
      return isDiscovery ? forward(request, url, rest) : to(Number(detail), `/at${rest}`);
    case "away":
      return to(302, `${other.url}${rest}${url.search}`);
    case "chain":
      return to(302, `/moved-301${rest}${url.search}`);
    case "relative":
      return to(302, `../../at${rest}${url.search}`);
    case "loop":
      return to(302, url.pathname + url.search);
    case "nowhere":
      return new Response(null, { status: 302 });
    case "login":
      return to(302, "/login/form");
    case "door":
      return to(302, `/private${rest}${url.search}`);
    case "named":
      return to(302, `${url.protocol}//bob:pw@${url.host}/at${rest}${url.search}`);
    case "private":
    case "writes":
      return (kind === "writes" && isDiscovery) || isAlice(request) ? forward(request, url, rest) : locked();
    case "status":
      return new Response("why\n", { status: Number(detail), headers: { "Content-Type": "text/plain" } });
    case "type":
      return forward(request, url, rest, detail);
    case "body":
      return new Response(detail, { headers: { "Content-Type": "application/x-git-upload-pack-advertisement" } });
    default:
      return forward(request, url, rest);
  }
}

const isAlice = (request: Request): boolean => request.headers.get("authorization") === `Basic ${btoa("alice:1")}`;
const locked = (): Response =>
  new Response("no\n", {
    status: 401,
    headers: { "WWW-Authenticate": 'Basic realm="x"', "Content-Type": "text/plain" },
  });

/** The answer of git, its content type changed. */
async function forward(request: Request, url: URL, rest: string, change = ""): Promise<Response> {
  const headers = new Headers(request.headers);
  for (const name of ["authorization", "host"]) headers.delete(name);
  const body = request.method === "POST" ? await request.arrayBuffer() : undefined;
  const response = await fetch(`${inner.url}${rest}${url.search}`, { method: request.method, headers, body });
  const type = response.headers.get("content-type") ?? "";
  const changed = change === "upper" ? type.toUpperCase() : change === "charset" ? `${type}; charset=utf-8` : type;
  return new Response(await response.arrayBuffer(), {
    status: response.status,
    headers: { "Content-Type": change === "html" ? "text/html" : changed },
  });
}

interface Row {
  readonly at: string;
  readonly name?: string;
  readonly config?: readonly (readonly [string, string])[];
  /** Before the host in the address. */
  readonly user?: string;
  readonly netrc?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly version?: 0 | 1 | 2;
  /** Why we do it otherwise, and what we do. */
  readonly ours?: readonly [why: string, ...requests: string[]];
}

const GET = "/info/refs?service=git-upload-pack";
const helper = (...lines: string[]): readonly (readonly [string, string])[] => [
  ["credential.helper", `!f() { test "$1" = get && cat >/dev/null && printf '%s\\n' ${lines.join(" ")}; }; f`],
];
const ALICE = helper("username=alice", "password=1");
const NETRC = "machine 127.0.0.1 login alice password 1\n";
const follow = (value: string) => [["http.followRedirects", value]] as const;
const EAGER = "what the address names is sent at once: one request less";

const ROWS: readonly Row[] = [
  ...([0, 1, 2] as const).map((version): Row => ({ at: "at", name: `protocol ${version}`, version })),
  ...[301, 302, 303, 307, 308].flatMap((status): Row[] => [
    { at: `moved-${status}` },
    { at: `moved-${status}`, config: follow("false") },
    ...["initial", "true", "false"].map((value): Row => ({ at: `later-${status}`, config: follow(value) })),
  ]),
  ...[300, 305].map(
    (status): Row => ({
      at: `moved-${status}`,
      ours: ["no redirect", "failed", `server GET /moved-${status}/R${GET} -`],
    }),
  ),
  ...["true", "yes", "0", "off"].map((value): Row => ({ at: "moved-302", config: follow(value) })),
  { at: "moved-302", config: follow("nonsense") },
  { at: "chain" },
  { at: "relative" },
  { at: "loop" },
  { at: "nowhere" },
  { at: "named" },
  { at: "away" },
  {
    at: "login",
    ours: ["the address of a form is not fetched", "failed", `server GET /login/R${GET} -`],
  },
  { at: "away", config: [["http.extraHeader", "X-Note: 1"]] },
  {
    at: "away",
    config: [["http.extraHeader", "Authorization: Bearer t"]],
    ours: [
      "git sends it to the other host with the POST (CVE-2022-27774 of curl, half mended)",
      "done",
      `server GET /away/R${GET} Bearer t`,
      `other GET /R${GET} -`,
      "other POST /R/git-upload-pack -",
    ],
  },
  {
    at: "away",
    user: "alice:1",
    ours: [
      EAGER,
      "done",
      `server GET /away/R${GET} alice:1`,
      `other GET /R${GET} -`,
      "other POST /R/git-upload-pack -",
    ],
  },
  { at: "private" },
  { at: "private", name: "a helper", config: ALICE },
  { at: "private", name: "a helper that is wrong", config: helper("username=alice", "password=2") },
  { at: "private", name: "askpass", env: { GIT_ASKPASS: "ASKPASS" } },
  { at: "private", name: "netrc", netrc: NETRC },
  { at: "private", name: "netrc, user in the address", user: "alice", netrc: NETRC },
  { at: "private", name: "netrc, default", netrc: "default login alice password 1\n" },
  { at: "private", name: "netrc that is wrong", netrc: NETRC.replace("1\n", "2\n") },
  { at: "private", name: "netrc that is wrong, a helper", netrc: NETRC.replace("1\n", "2\n"), config: ALICE },
  { at: "at", name: "netrc, and nobody asks", netrc: NETRC },
  { at: "at", name: "a helper, and nobody asks", config: ALICE },
  {
    at: "private",
    name: "password in the address",
    user: "alice:1",
    ours: [EAGER, "done", `server GET /private/R${GET} alice:1`, "server POST /private/R/git-upload-pack alice:1"],
  },
  {
    at: "private",
    name: "wrong password in the address, netrc",
    user: "alice:2",
    netrc: NETRC,
    ours: [EAGER, "failed", `server GET /private/R${GET} alice:2`],
  },
  {
    at: "private",
    name: "user in the address, a helper",
    user: "alice",
    config: helper("password=1"),
    ours: [
      "git tries the name with an empty password first",
      "done",
      `server GET /private/R${GET} -`,
      `server GET /private/R${GET} alice:1`,
      "server POST /private/R/git-upload-pack alice:1",
    ],
  },
  {
    at: "private",
    name: "another user in the address, netrc",
    user: "bob",
    netrc: NETRC,
    ours: ["git sends alice's password with bob's name", "failed", `server GET /private/R${GET} -`],
  },
  { at: "private", name: "a header", config: [["http.extraHeader", `Authorization: Basic ${btoa("alice:1")}`]] },
  {
    at: "private",
    name: "a header that is wrong, a helper",
    config: [["http.extraHeader", "Authorization: Basic eDp5"], ...ALICE],
    ours: ["git sends the same once more", "failed", `server GET /private/R${GET} x:y`],
  },
  { at: "writes", name: "asked at the POST", config: ALICE },
  { at: "door", name: "asked behind a redirect", config: ALICE },
  ...[400, 401, 402, 403, 404, 405, 407, 410, 413, 429, 500, 502, 503].map(
    (status): Row => ({ at: `status-${status}` }),
  ),
  { at: "type-upper" },
  { at: "type-charset" },
  { at: "type-html" },
  { at: "body-" },
  { at: "body-junk" },
  {
    at: "body-0000",
    ours: ["a list of no refs, as upload-pack of git 2.39 writes it", "done", `server GET /body-0000/R${GET} -`],
  },
  { at: "absent", name: "insteadOf", config: [[`url.${server.url}/at/.insteadOf`, `${server.url}/absent/`]] },
  { at: "at", name: "a header for this address", config: [[`http.${server.url}/at.extraHeader`, "X-Note: 1"]] },
  {
    at: "at",
    name: "a header for another address",
    config: [[`http.${server.url}/elsewhere.extraHeader`, "X-Note: 1"]],
  },
];

const ASKPASS = path.join(tempDir("askpass"), "ask");
fs.writeFileSync(ASKPASS, '#!/bin/sh\ncase "$1" in User*) echo alice;; *) echo 1;; esac\n', { mode: 0o755 });

for (const row of ROWS) {
  const { at, name = "", config = [], user, netrc, version, ours } = row;
  test(
    [at, name, user, ...config.map(([key, value]) => `${key}=${value.slice(0, 30)}`)].filter(Boolean).join(", "),
    async () => {
      const HOME = tempDir("home");
      if (netrc !== undefined) fs.writeFileSync(`${HOME}/.netrc`, netrc, { mode: 0o600 });
      const env = {
        HOME,
        GIT_TERMINAL_PROMPT: "0",
        ...(row.env?.GIT_ASKPASS !== undefined && { GIT_ASKPASS: ASKPASS }),
      };
      const url = `${server.url.replace("//", user === undefined ? "//" : `//${user}@`)}/${at}/${NAME}`;
      const settings = [...config, ...(version === undefined ? [] : [["protocol.version", String(version)] as const])];
      seen.length = 0;
      const flags = settings.flatMap(([key, value]) => ["-c", `${key}=${value}`]);
      const { status } = await tryGitAsync(HOME, [...flags, "ls-remote", url], { env });
      const theirs = [status === 0 ? "done" : "failed", ...seen];
      seen.length = 0;
      const mine = [await list(url, settings, env), ...seen];
      if (ours === undefined) expect(mine).toEqual(theirs);
      else {
        expect(mine).toEqual(ours.slice(1));
        expect(mine).not.toEqual(theirs);
      }
    },
  );
}

async function list(url: string, config: Row["config"], env: Record<string, string>): Promise<"done" | "failed"> {
  const options = connectOptions(config, env);
  try {
    const transport = await connect(rewriteUrl(options.config, url), "git-upload-pack", options);
    try {
      await lsRefs(transport, [], { agent: AGENT });
    } finally {
      await transport.close();
    }
    return "done";
  } catch (error) {
    // Anything but an error of ours is a bug.
    expect((error as KvError).code).toMatch(/^(?!BUG)[A-Z_]+$/);
    return "failed";
  }
}
