/** What a report of a Stargate means to whoever wrote. */

import { expect, test } from "bun:test";
import { ServerWords } from "../../src/kv/server-words.ts";
import { throwRefusal } from "../../src/kv/stargate-acceptor.ts";

const words = new ServerWords({ progress: () => {}, heard: () => {} }, "remote: ");

test("a disk that is full is told to be the server's", () => {
  const said = "STORAGE: ENOSPC: no space left on device, write";
  const refused = { unpack: said, refs: new Map(), advertised: undefined };
  expect(() => throwRefusal(refused, "http://host/kv.git", words)).toThrow(
    expect.objectContaining({
      code: "STORAGE",
      message: "the server could not store it: ENOSPC: no space left on device, write",
    }),
  );
  const ofRef = {
    unpack: "ok",
    refs: new Map([["refs/kv/main", { ok: false, reason: said }] as const]),
    advertised: undefined,
  };
  expect(() => throwRefusal(ofRef, "http://host/kv.git", words)).toThrow("the server could not store it: ENOSPC");
});

test("any other refusal is told in the server's words", () => {
  const refs = new Map([["refs/kv/main", { ok: false, reason: "BAD_SIGNATURE: sign it" }] as const]);
  expect(() => throwRefusal({ unpack: "ok", refs, advertised: undefined }, "http://host/kv.git", words)).toThrow(
    expect.objectContaining({ code: "BAD_SIGNATURE", message: "sign it" }),
  );
});
