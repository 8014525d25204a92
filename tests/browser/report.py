"""The pages of `host report` and `host watch` in a browser: widths, colours, search, keyboard, and that nothing is asked for.

    python3 tests/browser/report.py [folder for pictures]

HOST is the program (target/release/host), CHROMIUM the browser. Without either the script ends with 77.
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

import devtools

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOST = os.environ.get("HOST", str(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/host"))
HOSTILE = "</style></pre><script>document.title = 'broken'; fetch('https://example.invalid')</script><img src=x onerror=alert(1)>"

failed = []


def check(holds, what):
    print(("ok      " if holds else "FAILED  ") + what)
    if not holds:
        failed.append(what)


def host(folder, *arguments):
    subprocess.run([HOST, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def pages(folder):
    """A run, its comparison with another one, a study: each with something hostile in it where a person could put it."""
    host(folder, "train", "--quiet", "--policy", "builtin:probe", "--output", "run")
    host(folder, "train", "--quiet", "--policy", "builtin:fixed-kl", "--no-baseline", "--output", "other")
    host(folder, "study", "--out", "study", "--attacks", "harmless,30%", "--policies", "sft,probe", "--seeds", "17")
    answers = folder / "run/generations.jsonl"
    lines = answers.read_text().splitlines()
    lines[0] = lines[0].replace('"answer":"', '"answer":"' + HOSTILE.replace("\\", "\\\\") + " " + "wide" * 300, 1)
    answers.write_text("\n".join(lines) + "\n")
    host(folder, "report", "run")
    host(folder, "report", "run", "other", "-o", "several.html")
    host(folder, "report", "study")
    host(folder, "compare", "run", "other", "-o", "compared.html", "-o", "plot.svg")
    return ["run.html", "several.html", "study.html", "compared.html"]


def looks(page, url, name, pictures):
    """At every width and in both schemes."""
    for width, height in [(400, 800), (1400, 900)]:
        papers = []
        for scheme in ["light", "dark"]:
            page.look(width, height, scheme)
            page.open(url)
            at = f"{name} at {width}, {scheme}"
            wide = page.run("document.documentElement.scrollWidth")
            check(wide <= width, f"{at}: no wider than the window ({wide})")
            check(not page.errors, f"{at}: no error {page.errors[:1]}")
            outside = [one for one in page.requests if one != url]
            check(not outside, f"{at}: nothing is asked for {outside[:2]}")
            papers.append(page.run("getComputedStyle(document.body).backgroundColor"))
            small = page.run("""[...document.querySelectorAll("figure svg")].map((svg) =>
                12 * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width).reduce((a, b) => Math.min(a, b), 99)""")
            check(small >= 8, f"{at}: letters of charts have {small:.1f} px or more")
            faint = page.run(CONTRAST)
            check(not faint, f"{at}: all text stands out from the paper {faint[:3]}")
            if pictures:
                page.picture(pictures / f"{name}-{width}-{scheme}.png")
        check(papers[0] != papers[1], f"{name} at {width}: paper is light and dark")


# Texts with less than 4.5 to 1.
CONTRAST = """(() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const faint = new Set();
  for (const one of document.querySelectorAll("body *")) {
    if (!one.checkVisibility() || ![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    const style = getComputedStyle(one);
    const ink = light(one instanceof SVGElement ? style.fill : style.color);
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (ratio < 4.5) faint.add(one.tagName + "." + (one.getAttribute("class") || "") + " " + ratio.toFixed(1));
  }
  return [...faint];
})()"""

TYPE = """(([selector, value]) => {
  const field = document.querySelector(selector);
  if (field.type === "checkbox") field.checked = value; else field.value = value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
})"""
SHOWN = "[...document.querySelectorAll('#answer-list [data-item]')].filter((one) => one.checkVisibility()).length"


def answers(page, url):
    page.look(1400, 900, "light")
    page.open(url)
    check(page.run("document.title") == "run: report", "a script in an answer did nothing")
    check(page.run("document.querySelectorAll('main img, main script, main iframe').length") == 0, "and is text")
    every = page.run(SHOWN)

    def typed(selector, value):
        page.run(f"{TYPE}({[selector, value]!r})".replace("True", "true").replace("False", "false"))
        return page.run(SHOWN)

    find, only, kind = [f"form[data-filter=answer-list] [name={name}]" for name in ["find", "only", "set"]]
    some = typed(find, "tourist phone")
    check(0 < some < every, f"a search shows {some} of {every} prompts")
    said = page.run("document.querySelector('form[data-filter=answer-list] output').textContent")
    check(said == f"{some} of {every} shown", f"and says so: {said}")
    check(typed(find, "no such words anywhere") == 0, "a search for what isn't there shows none")
    check(typed(find, "") == every, "an empty one shows all")
    task = typed(kind, "task")
    check(0 < task < every, f"one set has {task}")
    both = typed(only, True)
    check(0 < both < every, f"and the models differ in {both} of it")


FOCUS = """(() => {
  const one = document.activeElement;
  if (one === document.body) return null;
  const all = [...document.querySelectorAll("*")];
  const box = one.getBoundingClientRect();
  return [all.indexOf(one), one.tagName, getComputedStyle(one).outlineStyle, box.width > 0 && box.right > 0,
          one.textContent.trim().slice(0, 40) || one.getAttribute("aria-label") || one.name];
})()"""


def keyboard(page, url):
    page.look(1400, 900, "light")
    page.open(url)
    seen = []
    for _ in range(40):
        page.press("Tab")
        focus = page.run(FOCUS)
        if focus is None:
            break
        seen.append(focus)
    check(seen[0][4] == "Skip to the content", "the first stop skips to the content")
    check([one[0] for one in seen] == sorted(one[0] for one in seen), "stops follow the page")
    check(all(one[2] != "none" for one in seen), "every stop is seen")
    check(all(one[3] for one in seen), "and stands on the page")
    kinds = {one[1] for one in seen}
    check({"A", "SUMMARY", "INPUT"} <= kinds, f"links, disclosures and fields are among them {sorted(kinds)}")
    names = page.run("""[...document.querySelectorAll("input, select, .scroll, svg[role=img]")].filter((one) =>
        !one.closest("label") && !one.getAttribute("aria-label")).length""")
    check(names == 0, "every field, table and chart has a name")


def watched(page, folder):
    """A run that trains while it is watched."""
    train = subprocess.Popen([HOST, "train", "--quiet", "--policy", "builtin:fixed-kl", "--epochs", "60", "--no-baseline",
                              "--output", "long"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (folder / "long/metrics.jsonl").exists() and train.poll() is None:
        time.sleep(0.1)
    serve = subprocess.Popen([HOST, "watch", "long", "--every", "1"], cwd=folder, stdout=subprocess.PIPE, text=True,
                             stderr=subprocess.DEVNULL)
    try:
        url = serve.stdout.readline().strip()
        page.open(url)
        steps = "Number(document.body.textContent.match(/Not ended: (\\d+)/)?.[1] ?? -1)"
        first = page.run(steps)
        page.run("(() => { const one = document.querySelector('form [name=find]'); if (one) one.value = 'kept'; })()")
        loaded = page.loaded
        page.wait(lambda: page.loaded > loaded, "news")
        second = page.run(steps)
        check(0 <= first < second, f"a watched page goes on by itself ({first}, then {second} steps)")
        kept = page.run("document.querySelector('form [name=find]')?.value")
        check(kept in ("kept", None), f"and keeps what was searched for ({kept})")
        outside = [one for one in page.requests if not one.startswith(url)]
        check(not outside and not page.errors, f"and asks its own server alone {outside[:1]} {page.errors[:1]}")
        serve.send_signal(signal.SIGINT)
        check(serve.wait(10) == 130, "Ctrl-C ends it")
        page.wait(lambda: page.run("document.getElementById('watched').textContent").startswith("host watch has ended"), "the end")
        check(True, "and the page says so")
    finally:
        train.kill()
        serve.kill()
        train.wait()
        serve.wait()


def main():
    if not devtools.browser():
        print("skipped: there is no chromium")
        return 77
    if not os.path.exists(HOST):
        print(f"skipped: {HOST} is not built")
        return 77
    pictures = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        made = pages(folder)
        page = devtools.Page()
        try:
            for one in made:
                looks(page, (folder / one).as_uri(), re.sub(r"\W.*", "", one), pictures)
            answers(page, (folder / "run.html").as_uri())
            keyboard(page, (folder / "run.html").as_uri())
            page.open((folder / "plot.svg").as_uri())
            check(page.run("document.documentElement.tagName") == "svg", "the plot is SVG that a browser reads")
            watched(page, folder)
        finally:
            page.close()
    print(f"{len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
