import { expect, test } from "bun:test";
import { bytesSource } from "../../../src/gitwire/protocol/byte-stream.ts";
import {
  DELIM,
  FLUSH,
  lineText,
  type Packet,
  PktReader,
  pktLine,
  RESPONSE_END,
} from "../../../src/gitwire/protocol/pkt-line.ts";
import { LIMITS } from "../../../src/limits.ts";
import { random } from "../../support/random.ts";
import { codeOf, drain, splitSource } from "../../support/streams.ts";

async function readAll(reader: PktReader): Promise<Packet[]> {
  const packets: Packet[] = [];
  for (;;) {
    const packet = await reader.read();
    packets.push(packet);
    if (packet.kind === "eof") return packets;
  }
}

test("the examples of gitprotocol-common", () => {
  expect(pktLine("a\n").toString()).toBe("0006a\n");
  expect(pktLine("a").toString()).toBe("0005a");
  expect(pktLine("foobar\n").toString()).toBe("000bfoobar\n");
  expect(pktLine("").toString()).toBe("0004");
});

test("packets survive any split", async () => {
  const rnd = random("pkt-line split");
  for (let round = 0; round < 40; round++) {
    const expected: Packet[] = [];
    const bytes: Buffer[] = [];
    for (let n = rnd.int(30); n > 0; n--) {
      const special = rnd.pick([
        [FLUSH, { kind: "flush" }],
        [DELIM, { kind: "delim" }],
        [RESPONSE_END, { kind: "response-end" }],
        undefined,
        undefined,
        undefined,
      ] as const);
      const data = rnd.bytes(rnd.int(rnd.pick([2, 50, 3_000])));
      expected.push(special === undefined ? { kind: "data", data } : special[1]);
      bytes.push(special === undefined ? pktLine(data) : special[0]);
    }
    const packets = await readAll(new PktReader(splitSource(Buffer.concat(bytes), rnd)));
    expect(packets).toEqual([...expected, { kind: "eof" }]);
  }
});

test("the longest packet, and one byte more", async () => {
  const longest = Buffer.alloc(LIMITS.packetPayload, 7);
  const [packet] = await readAll(new PktReader(bytesSource(pktLine(longest))));
  expect(packet).toEqual({ kind: "data", data: longest });
  expect(() => pktLine(Buffer.alloc(LIMITS.packetPayload + 1))).toThrow("too long");
  expect(await codeOf(() => readAll(new PktReader(bytesSource(Buffer.from("fff1")))))).toBe("PROTOCOL");
});

test("malformed lengths are refused, upper-case digits are not", async () => {
  for (const line of ["0003", "00g4", "zzzz", "HTTP", "-001", " 005", "0x05", "ffff"]) {
    expect(await codeOf(() => readAll(new PktReader(bytesSource(Buffer.from(`${line}aaaaaa`)))))).toBe("PROTOCOL");
  }
  const packets = await readAll(new PktReader(bytesSource(Buffer.from("000Ahello\n"))));
  expect(packets[0]).toEqual({ kind: "data", data: Buffer.from("hello\n") });
});

test("an end inside a packet is a broken connection, whatever the pieces", async () => {
  const bytes = pktLine("hello\n");
  for (let length = 1; length < bytes.length; length++) {
    for (const cut of [0, Math.floor(length / 2)]) {
      const source = bytesSource(bytes.subarray(0, cut), bytes.subarray(cut, length));
      expect(await codeOf(() => readAll(new PktReader(source)))).toBe("NETWORK");
    }
  }
});

test("what follows the packets is handed on untouched", async () => {
  const rnd = random("pkt-line rest");
  for (let round = 0; round < 20; round++) {
    const pack = rnd.bytes(rnd.int(2_000));
    const reader = new PktReader(splitSource(Buffer.concat([pktLine("x"), FLUSH, pack]), rnd));
    await reader.read();
    await reader.read();
    expect((await drain(reader.rest())).equals(pack)).toBe(true);
  }
});

test("text loses one line feed and must be UTF-8", async () => {
  expect(lineText(Buffer.from("é\n\n"))).toBe("é\n");
  expect(lineText(Buffer.from(""))).toBe("");
  expect(await codeOf(() => lineText(Buffer.from([0x61, 0xff])))).toBe("PROTOCOL");
});
