/**
 * Statuses, headers and bodies of the HTTP door beside those of `git http-backend` (2.39) on the same repository. Where we differ on
 * purpose the row says why.
 */

import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import * as path from "node:path";
import { gzipSync } from "node:zlib";
import { FLUSH, pktLine } from "../../src/gitwire/protocol/pkt-line.ts";
import { git } from "../support/git.ts";
import { type HttpBackend, startHttpBackend } from "../support/http-backend.ts";
import { TestStargate } from "../support/stargate.ts";
import { TEST_FORMAT } from "../support/test-format.ts";

setDefaultTimeout(60_000);

let stargate: TestStargate;
let backend: HttpBackend;
let token: string;

beforeAll(async () => {
  stargate = await TestStargate.start();
  token = stargate.token();
  git(stargate.dir, "config", "http.receivepack", "true");
  // As open as a Stargate is.
  for (const key of ["allowFilter", "allowRefInWant", "allowReachableSHA1InWant"]) {
    git(stargate.dir, "config", `uploadpack.${key}`, "true");
  }
  backend = startHttpBackend(path.dirname(stargate.dir));
});

afterAll(async () => {
  backend.stop();
  await stargate.stop();
});

const UP = { "Content-Type": "application/x-git-upload-pack-request" };
const RECEIVE = { "Content-Type": "application/x-git-receive-pack-request" };
const V2 = { "Git-Protocol": "version=2" };
const LIST = Buffer.concat([
  pktLine("command=ls-refs"),
  pktLine(`object-format=${TEST_FORMAT.name}`),
  Buffer.from("0001"),
  FLUSH,
]);
const NOBODY = "1".repeat(TEST_FORMAT.hexSize);
const FETCH = "?service=git-upload-pack";
const PUSH = "?service=git-receive-pack";

interface Row {
  readonly ask: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  /** Compared are the status and, where it is 200, headers and body; our status where it is another, and why. */
  readonly ours?: readonly [why: string, status: number];
  /** Whether the bodies differ, and why. */
  readonly bodies?: string;
}

const DUMB = "the dumb protocol is not spoken";
const TOLD = "what is wrong is told in an ERR packet";

const ROWS: readonly Row[] = [
  ...[FETCH, PUSH].flatMap((query): Row[] => [
    { ask: `GET /info/refs${query}` },
    { ask: `HEAD /info/refs${query}` },
    { ask: `GET /info/refs${query}`, headers: { "Git-Protocol": "version=1" } },
    { ask: `GET /info/refs${query}`, headers: { "Git-Protocol": "version=7:frotz" } },
    { ask: `GET /info/refs${query}&x=1` },
    { ask: `GET /info/refs?x=1&${query.slice(1)}` },
    { ask: `GET /info/refs${query.replaceAll("-", "%2D")}` },
  ]),
  ...["version=2", "foo:version=2:bar=x", "version=2:version=1", "version=1:version=2"].map(
    (value): Row => ({
      ask: `GET /info/refs${FETCH}`,
      headers: { "Git-Protocol": value },
      bodies: "object-info is not offered",
    }),
  ),
  {
    ask: `GET /info/refs${PUSH}`,
    headers: V2,
    bodies: "there is no push in v2: the line before a v0 advertisement is left out by git",
  },
  { ask: "GET /info/refs?service=" },
  { ask: "GET /info/refs?service=upload-pack" },
  { ask: "GET /info/refs?service=git-upload-archive" },
  { ask: "GET /info/refs", ours: [DUMB, 403] },
  { ask: "GET /HEAD", ours: [DUMB, 404] },
  { ask: "GET /objects/info/packs", ours: [DUMB, 404] },
  { ask: "GET /objects/info/alternates" },
  { ask: "GET /config" },
  { ask: "GET /" },
  { ask: "GET /info/refs/" },
  { ask: "GET /git-upload-pack/" },
  { ask: "GET /git-upload-archive" },
  ...["POST", "PUT", "DELETE", "OPTIONS"].map((method): Row => ({ ask: `${method} /info/refs${FETCH}` })),
  ...["GET", "HEAD", "PUT", "DELETE"].map((method): Row => ({ ask: `${method} /git-upload-pack` })),
  { ask: "GET /git-receive-pack" },
  { ask: "POST /git-upload-pack" },
  { ask: "POST /git-upload-pack", headers: RECEIVE },
  { ask: "POST /git-upload-pack", headers: { "Content-Type": `${UP["Content-Type"]}; charset=utf-8` } },
  { ask: "POST /git-receive-pack", headers: UP },
  { ask: "POST /git-upload-pack", headers: { ...UP, ...V2 }, body: LIST },
  { ask: "POST /git-upload-pack?x=1", headers: { ...UP, ...V2, Accept: "text/html" }, body: LIST },
  ...["gzip", "x-gzip"].map(
    (encoding): Row => ({
      ask: "POST /git-upload-pack",
      headers: { ...UP, ...V2, "Content-Encoding": encoding },
      body: gzipSync(LIST),
    }),
  ),
  { ask: "POST /git-upload-pack", headers: { ...UP, ...V2, "Content-Encoding": "identity" }, body: LIST },
  {
    ask: "POST /git-upload-pack",
    headers: { ...UP, ...V2, "Content-Encoding": "br" },
    body: LIST,
    ours: ["git takes the body as it is", 415],
  },
  { ask: "POST /git-upload-pack", headers: { ...UP, ...V2, "Content-Encoding": "gzip" }, body: LIST },
  { ask: "POST /git-upload-pack", headers: UP, body: "0000" },
  { ask: "POST /git-receive-pack", headers: RECEIVE, body: "0000" },
  { ask: "POST /git-upload-pack", headers: { ...UP, ...V2 }, body: "0000" },
  { ask: "POST /git-upload-pack", headers: UP, body: "" },
  { ask: "POST /git-receive-pack", headers: RECEIVE, body: "" },
  { ask: "POST /git-upload-pack", headers: UP, body: "zzzz", bodies: TOLD },
  { ask: "POST /git-receive-pack", headers: RECEIVE, body: "zzzz", bodies: TOLD },
  {
    ask: "POST /git-upload-pack",
    headers: UP,
    body: Buffer.concat([pktLine(`want ${NOBODY} object-format=${TEST_FORMAT.name}`), FLUSH]),
    bodies: "ours ends with a line feed",
  },
];

async function asked(base: string, { ask, headers, body }: Row, more: Record<string, string>): Promise<Answer> {
  const [method, target] = ask.split(" ") as [string, string];
  const init = { method, headers: { ...headers, ...more }, ...(body !== undefined && { body: body as string }) };
  const response = await fetch(`${base}${target}`, init);
  const text = Buffer.from(await response.arrayBuffer()).toString("latin1");
  const named = (name: string): string => response.headers.get(name) ?? "";
  return {
    status: response.status,
    headers: ["content-type", "cache-control", "expires", "pragma"].map(named),
    // Whom one talks to, and the lengths of lines that say so.
    body: text.replace(/^(0000)?[0-9a-f]{4}(.*)agent=\S+/gm, "$1$2agent="),
  };
}

interface Answer {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: string;
}

for (const row of ROWS) {
  const { ask, headers = {}, ours, bodies } = row;
  test(`${ask} ${Object.values(headers)} ${row.body?.length ?? ""}`, async () => {
    const theirs = await asked(`${backend.url}/${path.basename(stargate.dir)}`, row, {});
    const mine = await asked(stargate.url, row, { Authorization: `Bearer ${token}` });
    if (ours !== undefined) {
      expect([mine.status, mine.status === theirs.status]).toEqual([ours[1], false]);
      return;
    }
    expect(mine.status).toBe(theirs.status);
    if (mine.status !== 200) {
      expect(mine.headers.slice(0, 2)).toEqual(["text/plain; charset=utf-8", "no-cache, max-age=0, must-revalidate"]);
      return;
    }
    expect(mine.headers).toEqual(theirs.headers);
    if (bodies === undefined) expect(mine.body).toBe(theirs.body);
    else expect(mine.body).not.toBe(theirs.body);
  });
}
