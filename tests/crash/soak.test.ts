/** The soak (soak.ts): a few seconds in `make test`, ten minutes in `make soak`. */

import { expect, setDefaultTimeout, test } from "bun:test";
import { soak } from "./soak.ts";

const SECONDS = Number(process.env.GIT_KV_SOAK ?? 5);

setDefaultTimeout((SECONDS + 300) * 1000);

test(`${SECONDS} s of writers, readers, kills and a mirror`, async () => {
  const result = await soak({
    seconds: SECONDS,
    writers: 8,
    readers: 2,
    namespaces: ["a", "b", "c", "d"],
    killEvery: Math.min(3_000, SECONDS * 400),
  });
  const { faults, ...counts } = result;
  console.error(JSON.stringify(counts));
  expect(faults).toEqual([]);
  expect(result.acknowledged).toBeGreaterThan(0);
  expect(result.kills).toBeGreaterThan(0);
});
