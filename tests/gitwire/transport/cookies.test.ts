/** http.cookieFile: which cookies go where, as git (curl) sends them from the same file. */

import { afterAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { lsRefs } from "../../../src/gitwire/protocol/fetch-pack.ts";
import { connect } from "../../../src/gitwire/transport/connect.ts";
import { cookieHeader } from "../../../src/gitwire/transport/cookies.ts";
import { type HttpUrl, parseUrl } from "../../../src/gitwire/transport/url.ts";
import { AGENT, connectOptions } from "../../support/connect.ts";
import { failureOf } from "../../support/failure.ts";
import { gitAsync } from "../../support/git-async.ts";
import { startHttpBackend } from "../../support/http-backend.ts";
import { repositoryWith } from "../../support/push.ts";
import { tempDir } from "../../support/temp.ts";

const { dir } = repositoryWith(1);
const server = startHttpBackend(path.dirname(dir));
afterAll(() => server.stop());

const LATER = 4_000_000_000;

/** Lines of a cookie file for the host of `server`, and others that are not meant for it. */
const FILE = [
  "# Netscape HTTP Cookie File",
  "",
  `127.0.0.1\tFALSE\t/\tFALSE\t${LATER}\tplain\tone=1`,
  `#HttpOnly_127.0.0.1\tFALSE\t/${path.basename(dir)}\tFALSE\t0\tsession\ttwo`,
  `127.0.0.1\tFALSE\t/other\tFALSE\t${LATER}\telsewhere\tthree`,
  `127.0.0.1\tFALSE\t/\tTRUE\t${LATER}\tsecure\tfour`,
  "127.0.0.1\tFALSE\t/\tFALSE\t1000\told\tfive",
  `.example.com\tTRUE\t/\tFALSE\t${LATER}\tforeign\tsix`,
  "no cookie at all",
].join("\n");

test("the cookies of the file go with every request, as with git", async () => {
  const home = tempDir("home");
  const file = path.join(home, "cookies");
  fs.writeFileSync(file, `${FILE}\n`);
  const url = `${server.url}/${path.basename(dir)}`;
  await gitAsync(home, "-c", `http.cookieFile=${file}`, "ls-remote", url);
  const gits = server.requests.map(({ headers }) => headers.get("cookie"));
  server.requests.length = 0;
  for (const value of [file, "~/cookies"]) {
    const transport = await connect(
      url,
      "git-upload-pack",
      connectOptions([["http.cookieFile", value]], { HOME: home }),
    );
    await lsRefs(transport, [], { agent: AGENT });
    await transport.close();
    expect(server.requests.map(({ headers }) => headers.get("cookie"))).toEqual(gits);
    server.requests.length = 0;
  }
  expect(gits[0]).toBe("session=two; secure=four; plain=one=1");
  const missing = await connect(url, "git-upload-pack", connectOptions([["http.cookieFile", `${home}/none`]]));
  await lsRefs(missing, [], { agent: AGENT });
  await missing.close();
  expect(server.requests[0]!.headers.get("cookie")).toBeNull();
  const folder = connect(url, "git-upload-pack", connectOptions([["http.cookieFile", home]]));
  expect((await failureOf(folder)).code).toBe("CONFIG");
});

test("hosts, paths, secure ones, and cookies as answers' headers", () => {
  const file = [
    `.example.com\tTRUE\t/\tFALSE\t${LATER}\tall\t1`,
    `example.com\tFALSE\t/\tTRUE\t${LATER}\tone\t2`,
    `git.example.com\tFALSE\t/a\tFALSE\t${LATER}\tpath\t3`,
    `git.example.com\tFALSE\t/a\tFALSE\t${LATER}\tpath\tagain`,
    "Set-Cookie: kept=4; Domain=example.com; Path=/a/b; Secure; HttpOnly",
    "Set-Cookie: gone=5; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    "set-cookie: aged=6; Max-Age=0",
    `git.example.com\tFALSE\t/\tFALSE\t${LATER}\tbad\tx;y`,
  ].join("\r\n");
  const at = (url: string) => cookieHeader(file, parseUrl(url) as HttpUrl, Date.now());
  expect(at("https://example.com/r")).toBe("all=1; one=2");
  expect(at("http://example.com/r")).toBe("all=1");
  expect(at("http://GIT.example.com/a/b.git")).toBe("path=again; all=1");
  expect(at("http://git.example.com/ab.git")).toBe("all=1");
  expect(at("https://git.example.com/a/b/c")).toBe("kept=4; path=again; all=1");
  expect(at("https://badexample.com/a")).toBeUndefined();
});
