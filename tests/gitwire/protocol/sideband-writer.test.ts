import { expect, test } from "bun:test";
import { bytesSource } from "../../../src/gitwire/protocol/byte-stream.ts";
import { capabilities } from "../../../src/gitwire/protocol/capabilities.ts";
import { PktReader } from "../../../src/gitwire/protocol/pkt-line.ts";
import { SerialSink } from "../../../src/gitwire/protocol/serial-sink.ts";
import { demultiplex } from "../../../src/gitwire/protocol/sideband.ts";
import { SidebandWriter, sidebandLimit } from "../../../src/gitwire/protocol/sideband-writer.ts";
import { codeOf, drain, memorySink } from "../../support/streams.ts";

/** Waits, without a clock's word, until `holds`; the test's own limit ends it otherwise. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await Bun.sleep(1);
}

test("how much the client takes", () => {
  expect(sidebandLimit(capabilities(["side-band-64k"], ["side-band"]))).toBe(65_520);
  expect(sidebandLimit(capabilities(["side-band"]))).toBe(1_000);
  expect(sidebandLimit(capabilities())).toBeUndefined();
});

test("data, progress and the end, small packets too", async () => {
  for (const limit of [65_520, 1_000]) {
    const sink = memorySink();
    const writer = new SidebandWriter(sink, limit);
    await writer.write(Buffer.alloc(3_000, 1));
    writer.progress("ü".repeat(1_000));
    await writer.write(Buffer.alloc(10, 2));
    await writer.end();
    const progress: Buffer[] = [];
    const source = demultiplex(new PktReader(bytesSource(sink.bytes())), {
      onProgress: (bytes) => progress.push(bytes),
    });
    expect((await drain(source)).equals(Buffer.concat([Buffer.alloc(3_000, 1), Buffer.alloc(10, 2)]))).toBe(true);
    expect(Buffer.concat(progress).toString()).toBe("ü".repeat(1_000));
  }
});

test("without sidebands there is only data, and errors are ERR lines", async () => {
  const sink = memorySink();
  const writer = new SidebandWriter(sink, undefined);
  writer.progress("lost");
  await writer.write(Buffer.from("data"));
  await writer.end();
  expect(sink.bytes().toString()).toBe("data");
  const failing = new SidebandWriter(sink, undefined);
  await failing.fatal("no");
  expect(sink.bytes().toString()).toBe("data000bERR no\n");
});

test("signs of life while nothing is said, and none after the end", async () => {
  const sink = memorySink();
  const writer = new SidebandWriter(sink, 65_520, 5);
  await until(() => sink.bytes().length >= 10);
  expect(sink.bytes().toString()).toStartWith("0005\x010005\x01");
  await writer.fatal("done");
  const { length } = sink.bytes();
  await Bun.sleep(20);
  expect(sink.bytes().length).toBe(length);
  // They are nothing to the one who reads.
  expect(await codeOf(() => drain(demultiplex(new PktReader(bytesSource(sink.bytes())))))).toBe("REMOTE_REJECTED");
});

test("a reader that does not read: progress is dropped, data waits", async () => {
  let release: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  let written = 0;
  const writer = new SidebandWriter(
    {
      write: async (bytes) => {
        await gate;
        written += bytes.length;
      },
    },
    65_520,
  );
  const data = writer.write(Buffer.alloc(100));
  for (let i = 0; i < 1_000; i++) writer.progress("x".repeat(10_000));
  release();
  await data;
  await writer.end();
  expect(written).toBeGreaterThan(900_000);
  expect(written).toBeLessThan(1_200_000);
});

test("writes leave one after the other, and a failure is everybody's", async () => {
  const order: string[] = [];
  const sink = new SerialSink({
    write: async (bytes) => {
      await Bun.sleep(bytes.length === 1 ? 5 : 0);
      order.push(Buffer.from(bytes).toString());
      if (bytes.length === 3) throw new Error("gone");
    },
  });
  const first = sink.write(Buffer.from("a"));
  sink.post(Buffer.from("bb"));
  await Promise.all([first, sink.write(Buffer.from("dddd"))]);
  expect(order).toEqual(["a", "bb", "dddd"]);
  expect(sink.isIdle).toBe(true);
  sink.post(Buffer.from("ccc"));
  expect(sink.write(Buffer.from("e"))).rejects.toThrow("gone");
});
