import { afterAll, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { lsRefs } from "../../../src/gitwire/protocol/fetch-pack.ts";
import { type PushOrder, type PushResult, sendPack } from "../../../src/gitwire/protocol/send-pack.ts";
import { connect } from "../../../src/gitwire/transport/connect.ts";
import type { ConnectOptions } from "../../../src/gitwire/transport/connect-options.ts";
import { AGENT, connectOptions } from "../../support/connect.ts";
import { failureOf } from "../../support/failure.ts";
import { fsck, git } from "../../support/git.ts";
import { type HttpBackend, type HttpBackendOptions, startHttpBackend } from "../../support/http-backend.ts";
import { bareRepository, packWithCommit, repositoryWith } from "../../support/push.ts";
import { tempDir } from "../../support/temp.ts";
import { TEST_FORMAT } from "../../support/test-format.ts";

const servers: HttpBackend[] = [];
afterAll(() => {
  for (const server of servers) server.stop();
});

function serve(root: string, options: HttpBackendOptions = {}): HttpBackend {
  const server = startHttpBackend(root, options);
  servers.push(server);
  return server;
}

const { dir: SOURCE, commits: COMMITS } = repositoryWith(3);
const ROOT = path.dirname(SOURCE);
const NAME = path.basename(SOURCE);

async function listMain(url: string, options: ConnectOptions): Promise<string | undefined> {
  const transport = await connect(url, "git-upload-pack", options);
  try {
    const { refs } = await lsRefs(transport, ["refs/heads/"], { agent: AGENT });
    return refs.find(({ name }) => name === "refs/heads/main")?.oid;
  } finally {
    await transport.close();
  }
}

function order(changes: Partial<PushOrder> & { pushes: ReturnType<typeof packWithCommit> }): PushOrder {
  const { pushes, ...rest } = changes;
  return {
    commands: [{ ref: "refs/heads/main", oldOid: TEST_FORMAT.zeroOid, newOid: pushes.commit }],
    pack: pushes.pack,
    format: TEST_FORMAT,
    atomic: false,
    pushOptions: [],
    useAdvertisement: false,
    agent: AGENT,
    ...rest,
  };
}

async function push(url: string, options: ConnectOptions, what: PushOrder): Promise<PushResult> {
  const transport = await connect(url, "git-receive-pack", options);
  try {
    return await sendPack(transport, what);
  } finally {
    await transport.close();
  }
}

test("refs over protocol v2, v1 and v0 are the same", async () => {
  const server = serve(ROOT);
  for (const version of [0, 1, 2] as const) {
    expect(await listMain(`${server.url}/${NAME}`, { ...connectOptions(), version })).toBe(COMMITS[2]!);
  }
  const [v0, v1, v2, command] = server.requests.map(({ method, headers }) => [method, headers.get("git-protocol")]);
  expect([v0, v1, v2, command]).toEqual([
    ["GET", null],
    ["GET", "version=1"],
    ["GET", "version=2"],
    ["POST", "version=2"],
  ]);
});

test("a push without the advertisement is exactly one POST", async () => {
  const dir = bareRepository();
  const server = serve(path.dirname(dir));
  const pushes = packWithCommit("one post");
  const result = await push(`${server.url}/${path.basename(dir)}`, connectOptions(), order({ pushes }));
  expect(result.refs.get("refs/heads/main")).toEqual({ ok: true });
  expect(server.requests.map(({ method, target }) => `${method} ${target}`)).toEqual([
    `POST /${path.basename(dir)}/git-receive-pack`,
  ]);
  expect(git(dir, "rev-parse", "refs/heads/main")).toBe(pushes.commit);
  expect(fsck(dir)).toBe("");
});

test("a push with the advertisement shows the refs before it", async () => {
  const dir = bareRepository();
  const server = serve(path.dirname(dir));
  const url = `${server.url}/${path.basename(dir)}`;
  const first = packWithCommit("first");
  await push(url, connectOptions(), order({ pushes: first, useAdvertisement: true }));
  const second = packWithCommit("second", { parent: first.commit });
  const commands = [{ ref: "refs/heads/main", oldOid: first.commit, newOid: second.commit }];
  const result = await push(url, connectOptions(), order({ pushes: second, commands, useAdvertisement: true }));
  expect([...result.advertised!.refs]).toEqual([{ name: "refs/heads/main", oid: first.commit }]);
  expect(result.refs.get("refs/heads/main")).toEqual({ ok: true });
  expect(fsck(dir)).toBe("");
});

test("a large push streams in one POST with its length", async () => {
  const dir = bareRepository();
  const server = serve(path.dirname(dir));
  const extra = Array.from({ length: 80 }, () => crypto.getRandomValues(new Uint8Array(60_000)));
  const pushes = packWithCommit("large", { extra });
  await push(`${server.url}/${path.basename(dir)}`, connectOptions(), order({ pushes }));
  expect(pushes.pack.byteLength).toBeGreaterThan(4_000_000);
  expect(Number(server.requests[0]!.headers.get("content-length"))).toBeGreaterThan(pushes.pack.byteLength);
  expect(server.requests).toHaveLength(1);
  expect(git(dir, "rev-parse", "refs/heads/main")).toBe(pushes.commit);
  expect(fsck(dir)).toBe("");
});

test("a repository that is not there", async () => {
  const server = serve(ROOT);
  const error = await failureOf(listMain(`${server.url}/nothing.git`, connectOptions()));
  expect(error.code).toBe("NOT_A_REPOSITORY");
  expect(error.message).toContain("/nothing.git");
  const onPush = await failureOf(
    push(`${server.url}/nothing.git`, connectOptions(), order({ pushes: packWithCommit("x") })),
  );
  expect([onPush.code, onPush.data?.unknownOutcome]).toEqual(["NOT_A_REPOSITORY", undefined]);
});

test("a server that is no git server, one that is busy, one that fails", async () => {
  const answers: Record<string, () => Response> = {
    "/page": () => new Response("<html>", { headers: { "Content-Type": "text/html" } }),
    "/busy": () =>
      new Response("BUSY: later\nmore", { status: 503, headers: { "Retry-After": "7", "Content-Type": "text/plain" } }),
    "/broken": () => new Response("", { status: 500 }),
    "/secret": () => new Response("", { status: 403 }),
  };
  const server = serve(ROOT, { intercept: (_, url) => answers[`/${url.pathname.split("/")[1]}`]?.() });
  const list = (name: string) => failureOf(listMain(server.url + name, connectOptions()));
  const send = (name: string) =>
    failureOf(push(server.url + name, connectOptions(), order({ pushes: packWithCommit("x") })));
  expect((await list("/page")).code).toBe("UNSUPPORTED");
  const busy = await list("/busy");
  expect([busy.code, busy.data?.retryAfter]).toEqual(["BUSY", 7]);
  expect(busy.message).toEndWith("(HTTP 503): BUSY: later");
  expect((await list("/broken")).code).toBe("NETWORK");
  expect((await list("/secret")).code).toBe("FORBIDDEN");
  expect([(await send("/broken")).code, (await send("/broken")).data?.unknownOutcome]).toEqual(["NETWORK", true]);
  expect([(await send("/busy")).code, (await send("/busy")).data?.unknownOutcome]).toEqual(["BUSY", undefined]);
  expect([(await send("/secret")).code, (await send("/secret")).data?.unknownOutcome]).toEqual([
    "FORBIDDEN",
    undefined,
  ]);
});

test("nobody listens: the error names the URL without its password, and nothing was sent", async () => {
  const error = await failureOf(
    push("http://me:hunter2@127.0.0.1:1/x.git", connectOptions(), order({ pushes: packWithCommit("x") })),
  );
  expect(error.code).toBe("NETWORK");
  expect(error.message).toBe("cannot reach http://127.0.0.1:1/x.git: connection refused");
  expect(error.data?.unknownOutcome).toBeUndefined();
  expect(JSON.stringify(error.data)).not.toContain("hunter2");
});

test("a connection lost after the pack was sent leaves the outcome open", async () => {
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data: (socket, data) => {
        if (data.toString("latin1").includes("PACK")) socket.terminate();
      },
    },
  });
  const error = await failureOf(
    push(`http://127.0.0.1:${server.port}/x.git`, connectOptions(), order({ pushes: packWithCommit("x") })),
  );
  server.stop(true);
  expect([error.code, error.data?.unknownOutcome]).toEqual(["NETWORK", true]);
});

test("an answer that ends before the report leaves the outcome open", async () => {
  const type = { "Content-Type": "application/x-git-receive-pack-result" };
  for (const body of ["", "0000", "0008\x01000", "000eunpack ok\n"]) {
    const server = serve(ROOT, { intercept: () => new Response(body, { headers: type }) });
    const error = await failureOf(push(`${server.url}/x`, connectOptions(), order({ pushes: packWithCommit("x") })));
    expect([body, error.code, error.data?.unknownOutcome]).toEqual([body, "NETWORK", true]);
  }
  const server = serve(ROOT, { intercept: () => new Response("0011ERR no way!!\n", { headers: type }) });
  const error = await failureOf(push(`${server.url}/x`, connectOptions(), order({ pushes: packWithCommit("x") })));
  expect([error.code, error.data?.unknownOutcome]).toEqual(["REMOTE_REJECTED", undefined]);
});

test("a redirect of the first request is followed, and the rest goes to the new place", async () => {
  const target = serve(ROOT);
  const server = serve(ROOT, {
    intercept: (_, url) => Response.redirect(`${target.url}${url.pathname.replace("/old/", "/")}${url.search}`, 301),
  });
  expect(await listMain(`${server.url}/old/${NAME}`, connectOptions())).toBe(COMMITS[2]!);
  expect(server.requests.map(({ method }) => method)).toEqual(["GET"]);
  expect(target.requests.map(({ method }) => method)).toEqual(["GET", "POST"]);
});

test("a push without the advertisement finds out where a redirect leads, and goes there", async () => {
  const dir = bareRepository();
  const target = serve(path.dirname(dir));
  const server = serve(ROOT, {
    intercept: (_, url) => Response.redirect(`${target.url}${url.pathname}${url.search}`, 302),
  });
  const pushes = packWithCommit("redirected");
  await push(`${server.url}/${path.basename(dir)}`, connectOptions(), order({ pushes }));
  expect(git(dir, "rev-parse", "refs/heads/main")).toBe(pushes.commit);
  expect(server.requests.map(({ method }) => method)).toEqual(["POST", "GET"]);
  expect(target.requests.map(({ method }) => method)).toEqual(["GET", "POST"]);
});

test("redirects that are not followed", async () => {
  const target = serve(ROOT);
  const server = serve(ROOT, {
    intercept: (request, url) => {
      if (url.pathname.startsWith("/elsewhere/")) return Response.redirect(`${target.url}/login`, 302);
      if (url.pathname.startsWith("/loop/")) return Response.redirect(url.href, 302);
      if (url.pathname.startsWith("/file/")) {
        return new Response(null, { status: 302, headers: { Location: `file:///etc${url.search}` } });
      }
      if (request.method === "POST" || url.pathname.startsWith("/always/")) {
        return Response.redirect(`${target.url}${url.pathname.replace("/always/", "/")}${url.search}`, 307);
      }
      return undefined;
    },
  });
  const none = connectOptions([["http.followRedirects", "false"]]);
  const all = connectOptions([["http.followRedirects", "true"]]);
  expect((await failureOf(listMain(`${server.url}/always/${NAME}`, none))).message).toContain("which is not followed");
  expect((await failureOf(listMain(`${server.url}/elsewhere/x`, connectOptions()))).message).toContain(
    "no git service",
  );
  expect((await failureOf(listMain(`${server.url}/loop/x`, connectOptions()))).message).toContain("too often");
  expect((await failureOf(listMain(`${server.url}/file/x`, connectOptions()))).code).toBe("NETWORK");
  // The discovery went well, so a later redirect is not followed unless all are.
  expect((await failureOf(listMain(`${server.url}/${NAME}`, connectOptions()))).message).toContain("not followed");
  expect(await listMain(`${server.url}/${NAME}`, all)).toBe(COMMITS[2]!);
});

test("a password is asked for after a 401, given once more, and approved", async () => {
  const server = serve(ROOT, { login: "me:hunter2" });
  const log = path.join(tempDir("helper"), "log");
  const helper = `!f() { { echo "action=$1"; cat; } >> ${log}; test "$1" = get && echo username=me && echo password=hunter2; }; f`;
  const options = connectOptions([["credential.helper", helper]]);
  expect(await listMain(`${server.url}/${NAME}`, options)).toBe(COMMITS[2]!);
  expect(server.requests.map(({ method, headers }) => [method, headers.has("authorization")])).toEqual([
    ["GET", false],
    ["GET", true],
    ["POST", true],
  ]);
  const told = fs.readFileSync(log, "utf8");
  expect(told).toContain(
    `action=get\ncapability[]=authtype\nprotocol=http\nhost=127.0.0.1:${server.port}\nwwwauth[]=Basic`,
  );
  expect(told).toContain("action=store\n");
  expect(told).toContain("username=me\npassword=hunter2\n");
  expect(told).not.toContain("action=erase");
});

test("a refused password is erased, and the error says nothing of it", async () => {
  const server = serve(ROOT, { login: "me:right" });
  const home = tempDir("home");
  fs.writeFileSync(path.join(home, ".git-credentials"), `http://me:wr0ng@127.0.0.1:${server.port}\n`);
  const options = connectOptions([["credential.helper", "store"]], { HOME: home });
  const error = await failureOf(listMain(`${server.url}/${NAME}`, options));
  expect(error.code).toBe("UNAUTHENTICATED");
  expect(error.message).toEndWith(": who are you?");
  expect(`${error.message}${JSON.stringify(error.data)}`).not.toContain("wr0ng");
  expect(fs.readFileSync(path.join(home, ".git-credentials"), "utf8")).toBe("");
  expect(server.requests).toHaveLength(2);
});

test("a push takes a stored password along at once: still one POST", async () => {
  const dir = bareRepository();
  const server = serve(path.dirname(dir), { login: "me:hunter2" });
  const host = `127.0.0.1:${server.port}`;
  const home = tempDir("home");
  const netrc = tempDir("home");
  fs.writeFileSync(path.join(home, ".git-credentials"), `http://me:hunter2@${host}\n`);
  fs.writeFileSync(path.join(netrc, ".netrc"), "machine 127.0.0.1 login me password hunter2\n");
  const basic = `Authorization: Basic ${Buffer.from("me:hunter2").toString("base64")}`;
  const ways: [string, ConnectOptions][] = [
    [`http://${host}`, connectOptions([["credential.helper", "store"]], { HOME: home })],
    [`http://${host}`, connectOptions([], { HOME: netrc })],
    [`http://me:hunter2@${host}`, connectOptions()],
    [`http://${host}`, connectOptions([[`http.http://${host}.extraheader`, basic]])],
  ];
  for (const [i, [base, options]] of ways.entries()) {
    server.requests.length = 0;
    const pushes = packWithCommit(`way ${i}`);
    const commands = [{ ref: `refs/heads/way-${i}`, oldOid: TEST_FORMAT.zeroOid, newOid: pushes.commit }];
    const result = await push(`${base}/${path.basename(dir)}`, options, order({ pushes, commands }));
    expect(result.refs.get(`refs/heads/way-${i}`)).toEqual({ ok: true });
    expect(server.requests.map(({ method }) => method)).toEqual(["POST"]);
  }
});

test("a push body is sent again after a 401", async () => {
  const dir = bareRepository();
  const server = serve(path.dirname(dir), { login: "me:hunter2" });
  const options = connectOptions([["credential.helper", "!echo username=me; echo password=hunter2; :"]]);
  const pushes = packWithCommit("again", { extra: [crypto.getRandomValues(new Uint8Array(60_000))] });
  await push(`${server.url}/${path.basename(dir)}`, options, order({ pushes }));
  expect(server.requests.map(({ method }) => method)).toEqual(["POST", "POST"]);
  expect(fsck(dir)).toBe("");
  expect(git(dir, "rev-parse", "refs/heads/main")).toBe(pushes.commit);
});

test("no credential goes to another host", async () => {
  const target = serve(ROOT);
  const server = serve(ROOT, {
    intercept: (_, url) => Response.redirect(`http://localhost:${target.port}${url.pathname}${url.search}`, 302),
  });
  const options = connectOptions([
    ["http.extraheader", "X-Plain: yes"],
    ["http.extraheader", "Authorization: Bearer secret"],
    ["http.extraheader", "Cookie: secret=1"],
  ]);
  await listMain(`http://me:secret@127.0.0.1:${server.port}/${NAME}`, options);
  await listMain(`http://me:secret@127.0.0.1:${server.port}/${NAME}`, connectOptions());
  expect(server.requests.map(({ headers }) => headers.get("authorization"))).toEqual([
    "Bearer secret",
    `Basic ${Buffer.from("me:secret").toString("base64")}`,
  ]);
  expect(target.requests).toHaveLength(4);
  expect(target.requests[0]!.headers.get("x-plain")).toBe("yes");
  for (const { headers } of target.requests) {
    expect([headers.get("authorization"), headers.get("cookie")]).toEqual([null, null]);
  }
});

test("headers: what the configuration adds, and who we are", async () => {
  const server = serve(ROOT);
  const options = connectOptions([
    ["http.extraheader", "X-Dropped: 1"],
    ["http.extraheader", ""],
    ["http.extraheader", "X-Kept: a: b"],
    [`http.${server.url}.extraheader`, "X-Here: 1"],
    ["http.http://other.example.extraheader", "X-Elsewhere: 1"],
  ]);
  await listMain(`${server.url}/${NAME}`, options);
  const { headers } = server.requests[0]!;
  expect([headers.get("x-kept"), headers.get("x-here")]).toEqual(["a: b", "1"]);
  expect([headers.has("x-dropped"), headers.has("x-elsewhere")]).toEqual([false, false]);
  expect(headers.get("user-agent")).toBe("git/git-kv-test");
  const agent = [["http.userAgent", "git/2.0 (told)"]] as const;
  await listMain(`${server.url}/${NAME}`, connectOptions(agent));
  await listMain(`${server.url}/${NAME}`, connectOptions(agent, { GIT_HTTP_USER_AGENT: "git/3.0" }));
  const agents = server.requests.map((request) => request.headers.get("user-agent"));
  expect([agents[2], agents[4]]).toEqual(["git/2.0 (told)", "git/3.0"]);
});
