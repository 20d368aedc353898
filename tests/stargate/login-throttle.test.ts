import { expect, test } from "bun:test";
import { LIMITS } from "../../src/limits.ts";
import { LoginThrottle } from "../../src/stargate/login-throttle.ts";

const { loginFailures, loginWait, loginMemory, loginAddresses } = LIMITS;

function failing(throttle: LoginThrottle, address: string, times: number, now = 0): void {
  for (let i = 0; i < times; i++) throttle.failed(address, now);
}

test("some failures are free, then each doubles the wait, up to a limit", () => {
  const throttle = new LoginThrottle();
  failing(throttle, "192.0.2.1", loginFailures);
  expect(throttle.wait("192.0.2.1", 0)).toBe(0);
  const waits: number[] = [];
  let now = 0;
  for (let i = 0; i < 8; i++) {
    throttle.failed("192.0.2.1", now);
    waits.push(throttle.wait("192.0.2.1", now));
    now += waits.at(-1)!;
    expect(throttle.wait("192.0.2.1", now - 1)).toBe(1);
    expect(throttle.wait("192.0.2.1", now)).toBe(0);
  }
  expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60].map((seconds) => seconds * 1_000));
  expect(waits.at(-1)).toBe(loginWait);
});

test("each address by itself, an IPv6 network and a mapped IPv4 address as one", () => {
  const throttle = new LoginThrottle();
  failing(throttle, "2001:db8::1", loginFailures + 1);
  failing(throttle, "::ffff:192.0.2.7", loginFailures + 1);
  const waiting = (address: string): boolean => throttle.wait(address, 0) > 0;
  for (const same of ["2001:DB8:0:0::2", "2001:0db8:0000::ffff:1", "2001:db8::1%eth0", "192.0.2.7"])
    expect([same, waiting(same)]).toEqual([same, true]);
  for (const other of ["2001:db8:0:1::1", "192.0.2.8", "::1", "", "2001:db8:1::"])
    expect([other, waiting(other)]).toEqual([other, false]);
});

test("failures and good tokens are forgotten after a while", () => {
  const throttle = new LoginThrottle();
  failing(throttle, "a", loginFailures);
  throttle.failed("a", loginMemory);
  expect(throttle.wait("a", loginMemory)).toBe(0);
  throttle.succeeded("a", "ci", 0);
  expect([throttle.isFamiliar("a", "ci", loginMemory - 1), throttle.isFamiliar("a", "ci", loginMemory)]).toEqual([
    true,
    false,
  ]);
  expect([throttle.isFamiliar("b", "ci", 1), throttle.isFamiliar("a", "other", 1)]).toEqual([false, false]);
});

test("a clock that was set back ends a wait instead of making it longer", () => {
  const throttle = new LoginThrottle();
  const now = 3_600_000;
  failing(throttle, "a", loginFailures + 5, now);
  expect(throttle.wait("a", now)).toBeGreaterThan(0);
  expect(throttle.wait("a", 0)).toBe(0);
  throttle.failed("a", 0);
  expect(throttle.wait("a", 0)).toBeWithin(1, loginWait + 1);
});

test("the tables are bounded: the address heard of longest ago is forgotten", () => {
  const throttle = new LoginThrottle();
  failing(throttle, "first", loginFailures + 1);
  failing(throttle, "second", loginFailures + 1);
  for (let i = 0; i < loginAddresses - 1; i++) throttle.failed(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, 0);
  expect([throttle.wait("first", 0), throttle.wait("second", 0) > 0]).toEqual([0, true]);
  for (let i = 0; i < loginAddresses * 2; i++) {
    throttle.failed(`address ${i}`, 0);
    throttle.succeeded(`address ${i}`, "ci", 0);
  }
  expect(throttle.size).toBe(loginAddresses * 2);
});
