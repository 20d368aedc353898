import { expect, test } from "bun:test";
import { KvError } from "../../../src/errors.ts";
import { MemoryPipe } from "../../../src/gitwire/transport/memory-pipe.ts";
import { failureOf } from "../../support/failure.ts";
import { random } from "../../support/random.ts";

test("everything arrives in order, however it is cut", async () => {
  const source = random("memory-pipe");
  const data = source.bytes(200_000);
  const pipe = new MemoryPipe();
  const writing = (async () => {
    for (let at = 0; at < data.length; ) {
      const length = source.int(5_000);
      await pipe.write(data.subarray(at, at + length));
      at += length;
      if (source.int(10) === 0) await Bun.sleep(0);
    }
    pipe.end();
  })();
  const parts: Buffer[] = [];
  for (let chunk = await pipe.read(); chunk !== undefined; chunk = await pipe.read()) parts.push(chunk);
  await writing;
  expect(Buffer.concat(parts).equals(data)).toBe(true);
  expect(await pipe.read()).toBeUndefined();
});

test("a writer is held back by a reader that does not come", async () => {
  const pipe = new MemoryPipe();
  let written = 0;
  const writing = (async () => {
    for (let i = 0; i < 100; i++) {
      await pipe.write(Buffer.alloc(100_000));
      written++;
    }
  })();
  await Bun.sleep(5);
  expect(written).toBeLessThan(20);
  let bytes = 0;
  while (bytes < 10_000_000) bytes += (await pipe.read())!.length;
  await writing;
  expect(written).toBe(100);
});

test("after the end: what was written is read, then the error; a writer is told", async () => {
  const pipe = new MemoryPipe();
  await pipe.write(Buffer.from("last words"));
  pipe.end(new KvError("STORAGE", "disk full"));
  expect((await pipe.read())!.toString()).toBe("last words");
  expect((await failureOf(pipe.read())).code).toBe("STORAGE");
  expect((await failureOf(pipe.write(Buffer.from("x")))).code).toBe("STORAGE");
  const closed = new MemoryPipe();
  closed.end();
  expect((await failureOf(closed.write(Buffer.from("x")))).code).toBe("NETWORK");
});

test("bytes may be reused by the writer once they are taken", async () => {
  const pipe = new MemoryPipe();
  const bytes = Buffer.from("one");
  await pipe.write(bytes);
  bytes.write("two");
  expect((await pipe.read())!.toString()).toBe("one");
});
