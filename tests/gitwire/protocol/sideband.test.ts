import { expect, test } from "bun:test";
import { bytesSource } from "../../../src/gitwire/protocol/byte-stream.ts";
import { FLUSH, PktReader, pktLine } from "../../../src/gitwire/protocol/pkt-line.ts";
import {
  demultiplex,
  SMALL_SIDEBAND_PACKET,
  sidebandPacket,
  sidebandSink,
} from "../../../src/gitwire/protocol/sideband.ts";
import { random } from "../../support/random.ts";
import { codeOf, drain, memorySink, splitSource } from "../../support/streams.ts";

test("three streams in one come apart again", async () => {
  const rnd = random("sideband");
  for (let round = 0; round < 30; round++) {
    const sink = memorySink();
    const maxPacket = rnd.pick([SMALL_SIDEBAND_PACKET, 65_520]);
    const bands = { 1: sidebandSink(sink, 1, maxPacket), 2: sidebandSink(sink, 2, maxPacket) };
    const sent = { 1: [] as Buffer[], 2: [] as Buffer[] };
    for (let n = rnd.int(20); n > 0; n--) {
      const band = rnd.pick([1, 2] as const);
      const bytes = rnd.bytes(rnd.int(3_000));
      sent[band].push(bytes);
      await bands[band].write(bytes);
    }
    const progress: Buffer[] = [];
    const reader = new PktReader(splitSource(Buffer.concat([sink.bytes(), FLUSH, pktLine("next")]), rnd));
    const data = await drain(demultiplex(reader, { onProgress: (bytes) => progress.push(bytes) }));
    expect(data.equals(Buffer.concat(sent[1]))).toBe(true);
    expect(Buffer.concat(progress).equals(Buffer.concat(sent[2]))).toBe(true);
    expect(await reader.read()).toEqual({ kind: "data", data: Buffer.from("next") });
  }
});

test("no packet is longer than agreed", async () => {
  const sink = memorySink();
  await sidebandSink(sink, 1, SMALL_SIDEBAND_PACKET).write(Buffer.alloc(2_500));
  const reader = new PktReader(bytesSource(sink.bytes()));
  const sizes: number[] = [];
  for (let packet = await reader.read(); packet.kind === "data"; packet = await reader.read()) {
    sizes.push(packet.data.length + 4);
  }
  expect(sizes).toEqual([1_000, 1_000, 515]);
});

test("band 3 is the peer's error, other bands are nothing", async () => {
  const read = (bytes: Buffer) => drain(demultiplex(new PktReader(bytesSource(bytes))));
  expect(read(sidebandPacket(3, "upload-pack: not our ref\n"))).rejects.toThrow(
    "remote error: upload-pack: not our ref",
  );
  expect(await codeOf(() => read(sidebandPacket(3, "x")))).toBe("REMOTE_REJECTED");
  expect(await codeOf(() => read(pktLine("\x04x")))).toBe("PROTOCOL");
  expect(await codeOf(() => read(pktLine("")))).toBe("PROTOCOL");
  expect(await codeOf(() => read(Buffer.from("0001")))).toBe("PROTOCOL");
  expect(await codeOf(() => read(sidebandPacket(1, "x")))).toBe("NETWORK");
});
