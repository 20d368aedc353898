/** The status page in a real browser: phone and desktop, light and dark, by keyboard, and against names that are HTML. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fs from "node:fs";
import * as path from "node:path";
import { Chromium, type Page, type Screen } from "../../support/chromium.ts";
import { git } from "../../support/git.ts";
import { TestClient, TestStargate, verdict } from "../../support/stargate.ts";
import { tempDir } from "../../support/temp.ts";

const EVIL = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;
const SCREENS: readonly (readonly [string, Screen])[] = [
  ["desktop, light", { width: 1280, height: 900 }],
  ["desktop, dark", { width: 1280, height: 900, dark: true }],
  ["phone, light", { width: 360, height: 740, mobile: true }],
  ["phone, dark", { width: 360, height: 740, mobile: true, dark: true }],
];

let stargate: TestStargate;
let client: TestClient;
let chromium: Chromium;
let page: Page;

beforeAll(async () => {
  const mirror = tempDir("mirror");
  git(mirror, "init", "-q", "--bare");
  stargate = await TestStargate.start({ mirror, adminListen: "127.0.0.1:0" });
  client = new TestClient(stargate.dir, stargate.loginUrl(stargate.token("write", "ci-bot")));
  await client.set({ [EVIL]: "1", "cfg:theme": "dark", "cfg:lang": "en", "user:1:name": "x" });
  await client.set({ "cfg:theme": "light", [`${EVIL}:${EVIL}`]: "2", ["a".repeat(1_000)]: "3" });
  await client.set({ b: "1" }, "staging");
  const stale = client.plan({ c: "1" });
  await client.set({ c: "2" });
  expect(verdict(await client.push(stale))).toBe("CAS_CONFLICT");
  const { gate } = stargate.daemon.registry.all()[0]!;
  const refused = { at: Date.now(), ns: "main", code: "KEY_INVALID", message: EVIL, who: EVIL, ms: 1 } as const;
  gate.events.emit({ kind: "rejected", ...refused });
  chromium = await Chromium.start();
  page = await chromium.page(SCREENS[0]![1]);
});
afterAll(async () => {
  await chromium.stop();
  await stargate.stop();
});

/** Run in the page: each text that stands out less than 4.5 to 1 from what is behind it (WCAG 2, 1.4.3). */
const UNREADABLE = String.raw`(() => {
  const partsOf = (color) => (color.match(/[\d.]+/g) ?? []).map(Number);
  const light = (channel) => (channel <= 10 ? channel / 255 / 12.92 : ((channel / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const behind = (element) => {
    if (element === null) return [255, 255, 255];
    const [r, g, b, a = 1] = partsOf(getComputedStyle(element).backgroundColor);
    return a === 1 ? [r, g, b] : behind(element.parentElement).map((under, i) => [r, g, b][i] * a + under * (1 - a));
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.nodeValue.trim()).join("");
    if (own === "" || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(element.tagName)) continue;
    const { fill, color } = getComputedStyle(element);
    const [a, b] = [luminance(partsOf(element.tagName === "text" ? fill : color)), luminance(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(own.slice(0, 40) + ": " + ratio.toFixed(2));
  }
  return found;
})()`;

/** Opens it anew, in the one tab there is: another one costs seconds on a busy machine. */
async function openPage(screen: Screen = SCREENS[0]![1]): Promise<void> {
  await page.show(screen);
  await page.open(stargate.opsUrl);
  await page.until(
    "document.querySelector('#recent tbody tr') !== null && document.querySelector('#browser li') !== null",
  );
}

const textOf = (selector: string): Promise<string> =>
  page.evaluate(`document.querySelector(${JSON.stringify(selector)}).innerText`);

const click = (selector: string, text: string): Promise<boolean> =>
  page.evaluate(
    `[...document.querySelectorAll(${JSON.stringify(selector)})].find((each) => each.innerText === ${JSON.stringify(text)})?.click() === undefined`,
  );

describe.each(SCREENS)("%s", (_name, screen) => {
  test("shows everything, fits, complains of nothing and loads nothing from elsewhere", async () => {
    await openPage(screen);
    expect(await page.evaluate("document.documentElement.scrollWidth <= innerWidth")).toBe(true);
    const background = await page.evaluate<string>("getComputedStyle(document.body).backgroundColor");
    expect(background).toBe(screen.dark ? "rgb(20, 23, 26)" : "rgb(246, 245, 242)");
    for (const part of [
      "verdict",
      "objectives",
      "plot-accept",
      "plot-lag",
      "namespaces",
      "checks",
      "recent",
      "rejections",
    ]) {
      expect(await textOf(`#${part}`)).not.toBe("");
    }
    expect(await textOf("#objectives")).toContain("under 150\u00a0ms");
    expect(await textOf("#recent")).toContain("ci-bot");
    expect(await textOf("#rejections")).toContain("CAS_CONFLICT");
    expect(
      await page.evaluate("document.querySelectorAll('#plot-accept svg circle, #plot-accept svg polyline').length > 0"),
    ).toBe(true);
    expect(page.requests.filter((url) => !url.startsWith(stargate.opsUrl) && !url.startsWith("data:"))).toEqual([]);
    expect(page.complaints).toEqual([]);
    const folder = process.env.GIT_KV_SCREENSHOTS;
    if (folder !== undefined)
      await page.screenshot(path.join(fs.realpathSync(folder), `${_name.replace(", ", "-")}.png`));
  });
});

describe("the page", () => {
  test("names that are HTML are text, wherever they stand", async () => {
    await openPage();
    expect(await textOf("#recent")).toContain(EVIL);
    // The name has a ':' further on, and a '/', at which the browser of keys begins another level.
    expect(await textOf("#browser")).toContain("<img src=x onerror=");
    const { prefix } = { prefix: EVIL.slice(0, EVIL.indexOf("/") + 1) };
    await click("#browser li button", prefix);
    await page.until(`document.querySelector('#browser li').innerText.startsWith(${JSON.stringify(EVIL)})`);
    await click("#browser li button", EVIL);
    await page.until("document.querySelector('#browser ol') !== null");
    expect(await textOf("#browser")).toContain("set · rev 1");
    expect(await page.evaluate("[document.images.length, document.scripts.length]")).toEqual([0, 1]);
    expect(await page.evaluate("document.title")).not.toContain("owned");
    expect(page.complaints).toEqual([]);
  });

  test("a time that no calendar has is told as it is", async () => {
    const { author } = client;
    client.author = { ...author, seconds: 999_999_999_999_999 };
    await client.set({ one: "1" }, "far");
    client.author = author;
    await openPage();
    await page.until("document.querySelector('#namespaces').innerText.includes('far')");
    await click("#namespaces button", "far");
    await page.until("document.querySelector('#browser nav').innerText.trim() === 'far'");
    await click("#browser li button", "one");
    await page.until("document.querySelector('#browser ol') !== null");
    expect(await textOf("#browser")).toContain("@999999999999999");
    expect(page.complaints).toEqual([]);
  });

  test("names that look like others, or turn the text around, are told apart", async () => {
    const family = "\u{1f469}\u200d\u{1f4bb}";
    await client.set({ "\u202eevil": "1", "ad\u200bmin": "1", [family]: "1", ["deep/".repeat(40)]: "1" }, "odd");
    await openPage();
    await page.until("document.querySelector('#namespaces').innerText.includes('odd')");
    await click("#namespaces button", "odd");
    await page.until("document.querySelector('#browser nav').innerText.trim() === 'odd'");
    const shown = await textOf("#browser");
    expect(shown).toContain("U+202Eevil");
    expect(shown).toContain("adU+200Bmin");
    expect(shown).toContain(family);
    expect(shown).not.toMatch(/[\u202e\u200b]/);
    // What is asked for is the key, not what is shown of it.
    await click("#browser li button", "U+202Eevil");
    await page.until("document.querySelector('#browser ol') !== null");
    expect(await textOf("#browser")).toContain("set · rev 1");
    // A place deep down is told by its ends.
    await page.evaluate(`goTo({ repo: "kv.git", ns: "odd", prefix: "deep/".repeat(39) })`);
    expect(await page.evaluate("document.querySelectorAll('#browser nav button').length")).toBe(7);
    expect(await page.evaluate("getComputedStyle(document.querySelector('#browser .grow')).unicodeBidi")).toBe(
      "isolate",
    );
    expect(page.complaints).toEqual([]);
  });

  test("of many namespaces the first few, those before all that the mirror lacks for long", async () => {
    const many = (late: number): string => `(() => {
      clearTimeout(state.timer);
      const [repo] = state.last.repositories;
      const one = { ...repo.namespaces[0], lag: 0, backlog: 0 };
      const namespaces = Array.from({ length: 40 }, (_, i) => ({ ...one, ns: "n" + i, lag: i === 30 ? ${late} : 5_000 }));
      state.last = { ...state.last, repositories: [{ ...repo, namespaces }] };
      render(state.last);
      return [...document.querySelectorAll("#namespaces tbody td:first-child")].map((each) => each.innerText);
    })()`;
    await openPage();
    expect(await page.evaluate(many(9_000))).toEqual(Array.from({ length: 12 }, (_, i) => `n${i}`));
    expect((await page.evaluate<string[]>(many(60_000)))[0]).toBe("n30");
    await click("#namespaces button", "Show all 40");
    expect(await page.evaluate("document.querySelectorAll('#namespaces tbody tr').length")).toBe(40);
    await page.evaluate("document.querySelector('#namespaces [data-focus=all]').focus()");
    await page.press("Enter");
    expect(await page.evaluate("document.querySelectorAll('#namespaces tbody tr').length")).toBe(12);
    expect(await page.evaluate("document.activeElement.innerText")).toBe("Show all 40");
  });

  test("a mirror that has something else is nowhere said to be up to date", async () => {
    await openPage();
    const said = await page.evaluate(`(() => {
      clearTimeout(state.timer);
      const [repo] = state.last.repositories;
      const mirror = { ...repo.mirror, state: "diverged", diverged: ["main"] };
      const namespaces = ["diverged", "unknown", "current"].map((copy) => ({ ...repo.namespaces[0], ns: copy, backlog: 0, lag: 0, mirror: copy }));
      state.last = { ...state.last, repositories: [{ ...repo, mirror, namespaces }] };
      render(state.last);
      return [
        document.querySelector("#verdict p").innerText.split(" · ").slice(1),
        ...[...document.querySelectorAll("#namespaces tbody td:last-child")].map((each) => each.innerText),
      ];
    })()`);
    expect(said).toEqual([["mirror diverged"], "diverged", "unknown", "0"]);
  });

  test("the ends of a plot's scale are what they say, in whatever unit", async () => {
    await openPage();
    const ends = await page.evaluate<[value: number, top: number, texts: string[]][]>(`(() => {
      const values = Array.from({ length: 400 }, (_, i) => 1.05 ** i);
      return values.map((value) => [value, niceAbove(value), [0.5, 1].map((share) => duration(niceAbove(value) * share).join(" "))]);
    })()`);
    const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, min: 60_000, h: 3_600_000 };
    for (const [value, top, texts] of ends) {
      expect(top).toBeGreaterThanOrEqual(value * 0.999);
      expect(top).toBeLessThanOrEqual(Math.max(value * 3.2, 2));
      for (const [i, text] of texts.entries()) {
        const [figure, unit] = text.split(" ");
        expect([text, Number(figure) * units[unit!]!]).toEqual([text, top * (i === 0 ? 0.5 : 1)]);
      }
    }
  });

  test("the key of a thousand characters takes three lines", async () => {
    await openPage();
    await click("#namespaces button", "main");
    await page.until("document.querySelector('#browser nav').innerText.trim() === 'main'");
    const long = `[...document.querySelectorAll('#browser .grow > span')].find((each) => each.innerText.startsWith('aaaa'))`;
    expect(await page.evaluate<number>(`${long}.getBoundingClientRect().height`)).toBeLessThan(70);
    expect(await page.evaluate<number>(`${long}.innerText.length`)).toBe(1_000);
  });

  test("every figure and name can be read: 4.5 to 1 against what is behind it, in both modes", async () => {
    for (const [, screen] of SCREENS) {
      await openPage(screen);
      for (const level of ["good", "warn", "bad"]) {
        await page.evaluate(`document.querySelector('.verdict').className = 'verdict ${level}'`);
        expect([level, await page.evaluate(UNREADABLE)]).toEqual([level, []]);
      }
    }
    await page.evaluate(
      "document.querySelector('#recent td').style.color = getComputedStyle(document.body).backgroundColor",
    );
    expect(await page.evaluate(UNREADABLE)).toHaveLength(1);
  });

  test("it has a shape that a screen reader can follow", async () => {
    await openPage(SCREENS[3]![1]);
    const nodes = await page.accessibility();
    const named = (role: string): string[] => nodes.filter((each) => each.role === role).map(({ name }) => name);
    expect(named("heading")).toEqual([
      "Stargate",
      "Objectives",
      "The last hour",
      "Recent transactions",
      "Namespaces",
      "Keys",
      "Checks",
      "Rejections by code, 24 h",
    ]);
    expect(named("main")).toHaveLength(1);
    // Laid out for a phone, they are tables still.
    expect(named("table")).toHaveLength(2);
    expect(named("columnheader")).toEqual(expect.arrayContaining(["Verdict", "Who", "Namespace", "Behind"]));
    expect(named("image").filter((name) => name === "well")).toHaveLength(8);
    for (const { role, name } of nodes)
      if (role === "button" || role === "image") expect([role, name]).not.toEqual([role, ""]);
    expect(named("status")).toHaveLength(1);
  });

  test("a script that got into it all the same would not run", async () => {
    await openPage();
    const inject = `(() => {
      const script = document.createElement("script");
      script.textContent = "document.title = 'owned'";
      document.body.append(script);
      const holder = document.createElement("div");
      holder.innerHTML = ${JSON.stringify(EVIL)};
      document.body.append(holder);
      const frame = document.createElement("iframe");
      frame.src = "http://example.com/";
      document.body.append(frame);
    })()`;
    await page.evaluate(inject);
    await page.evaluate("new Promise((resolve) => setTimeout(resolve, 100))");
    expect(await page.evaluate("document.title")).not.toContain("owned");
    expect(page.complaints.map(({ text }) => text).join("\n")).toContain("Content Security Policy");
    const { headers } = await fetch(stargate.opsUrl);
    const policy = headers.get("content-security-policy")!;
    expect(policy).toStartWith("default-src 'none'; script-src 'sha256-");
    expect(policy).not.toContain("unsafe");
    expect(headers.get("x-content-type-options")).toBe("nosniff");
  });

  test("works by keyboard: to the keys of a namespace, and into one", async () => {
    await openPage();
    const reach = async (text: string): Promise<void> => {
      for (let i = 0; i < 80; i++) {
        await page.press("Tab");
        if ((await page.evaluate("document.activeElement.innerText")) === text) return;
      }
      throw new Error(`'${text}' is not reached by Tab`);
    };
    await reach("staging");
    await page.press("Enter");
    await page.until("document.querySelector('#browser nav').innerText.trim() === 'staging'");
    await reach("b");
    await page.press("Enter");
    await page.until("document.querySelector('#browser ol') !== null");
    expect(await textOf("#browser ol")).toContain("rev 1");
    expect(await page.evaluate("document.querySelectorAll('svg[tabindex] + figcaption').length")).toBe(2);
  });

  test("follows what happens, and keeps still while it is told to", async () => {
    await openPage();
    await client.set({ "cfg:late": "1" });
    const { seq } = JSON.parse(await (await fetch(`${stargate.opsUrl}/api/keys?repo=kv.git&ns=main`)).text()) as {
      seq: number;
    };
    await page.until(`document.querySelector('#namespaces').innerText.includes('${seq}')`);
    await click("#pause", "Pause");
    expect(await page.evaluate("document.querySelector('#pause').getAttribute('aria-pressed')")).toBe("true");
    expect(await textOf("#fresh")).toStartWith("paused");
  });

  test("says that nobody answers, and goes on when somebody does", async () => {
    await openPage();
    await page.evaluate("(globalThis.kept = ask, ask = () => Promise.reject(new Error('gone')), refresh())");
    expect(await textOf("#verdict")).toContain("The Stargate does not answer: gone");
    expect(await textOf("#verdict")).not.toContain("no mirror");
    expect(await textOf("#said")).toBe("Something is wrong");
    expect(await textOf("#fresh")).toMatch(/^seen .* ago$/);
    expect(await page.evaluate<string>("document.title")).toStartWith("!");
    expect(await textOf("#recent")).toContain("ci-bot");
    await page.evaluate("(ask = kept, refresh())");
    expect(await textOf("#verdict")).not.toContain("does not answer");
  });

  test("says what is wrong", async () => {
    const hook = path.join(stargate.dir, "hooks", "update");
    const text = fs.readFileSync(hook);
    fs.rmSync(hook);
    try {
      await Bun.sleep(1_000);
      await openPage();
      expect(await textOf("#verdict")).toMatch(/Something is wrong[\s\S]*hooks\/update is missing/);
      expect(await page.evaluate<string>("document.title")).toStartWith("!");
    } finally {
      fs.writeFileSync(hook, text, { mode: 0o755 });
    }
  });
});
