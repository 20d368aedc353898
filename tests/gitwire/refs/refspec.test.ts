import { expect, test } from "bun:test";
import { mapRefs, mapRefspec, parseRefspec } from "../../../src/gitwire/refs/refspec.ts";

test("the parts of a refspec", () => {
  expect(parseRefspec("+refs/kv/*:refs/kv-remotes/origin/kv/*")).toEqual({
    force: true,
    negative: false,
    pattern: true,
    src: "refs/kv/*",
    dst: "refs/kv-remotes/origin/kv/*",
  });
  expect(parseRefspec("main")).toMatchObject({ src: "main", dst: undefined, pattern: false, force: false });
  expect(parseRefspec(":refs/heads/x")).toMatchObject({ src: "", dst: "refs/heads/x" });
  expect(parseRefspec("HEAD~2:refs/heads/x")).toMatchObject({ src: "HEAD~2", dst: "refs/heads/x" });
  expect(parseRefspec("^refs/heads/x/*")).toMatchObject({ negative: true, pattern: true, src: "refs/heads/x/*" });
  expect(parseRefspec("+:")).toMatchObject({ force: true, src: "", dst: "" });
});

test.each(["refs/*:refs/x", "refs/x:refs/*", "refs/*/*:refs/*", "a:b..c", "a:b c", "^", "^a:b", "refs/*:refs/a*/*"])(
  "%s is refused",
  (text) => {
    expect(() => parseRefspec(text)).toThrow(/no refspec/);
  },
);

test("refs are mapped", () => {
  const spec = parseRefspec("+refs/heads/*:refs/remotes/o/*");
  expect(mapRefspec(spec, "refs/heads/a/b")).toBe("refs/remotes/o/a/b");
  expect(mapRefspec(spec, "refs/tags/a")).toBeUndefined();
  expect(mapRefspec(parseRefspec("refs/heads/*-x:refs/y/*"), "refs/heads/$&-x")).toBe("refs/y/$&");
  expect(mapRefspec(parseRefspec("refs/ab*ab:refs/y/*"), "refs/ab")).toBeUndefined();
  expect(mapRefspec(parseRefspec("HEAD"), "HEAD")).toBeUndefined();
});

test("negative refspecs take refs out, and two sources never share a destination", () => {
  const specs = ["refs/heads/*:refs/r/*", "+refs/heads/main:refs/r/main", "^refs/heads/tmp/*"].map(parseRefspec);
  expect(mapRefs(specs, ["refs/heads/main", "refs/heads/tmp/x", "refs/tags/t"])).toEqual([
    { src: "refs/heads/main", dst: "refs/r/main", force: true },
  ]);
  const clash = ["refs/a/*:refs/r/*", "refs/b/*:refs/r/*"].map(parseRefspec);
  expect(() => mapRefs(clash, ["refs/a/x", "refs/b/x"])).toThrow(/both refs\/a\/x and refs\/b\/x/);
});
