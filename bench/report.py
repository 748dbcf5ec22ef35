"""What `compare.py` found, as Markdown and as a picture."""
from html import escape

import engines


def markdown(results):
    machine = results["machine"]
    isa = "the best of each" if results["isa"] == "auto" else results["isa"]
    parts = [
        f"{machine['cpu']}, {machine['cores']} cores, {', '.join(machine['isa'])};"
        f" load {machine['load']:.1f} at the start. {results['precision']}, batch {results['batch']},"
        f" instruction set: {isa}. Medians of {results['rounds']} rounds of {results['seconds']:g} s,"
        " ours and theirs in turn.",
        times(results["times"], results),
    ]
    parts += failures(results)
    if "start" in results:
        parts += [start_up(results)]
    if "packed" in results:
        parts += [packed(results["packed"])]
    return "\n\n".join(parts) + "\n"


def title(name, results):
    mark = "" if engines.limited(name, results["isa"]) else " (not limited)"
    return f"{engines.TITLES[name]} {results['versions'][name]}{mark}"


def names(entries):
    """Engines in the order of their times, all entries together."""
    found = {}
    for entry in entries:
        for name, result in entry["engines"].items():
            found.setdefault(name, []).append(result.get("ratio", float("inf")))
    return sorted(found, key=lambda name: sum(found[name]) / len(found[name]))


def heading(entry):
    plural = "thread" if entry["threads"] == 1 else "threads"
    return f"{entry['network']}, {entry['threads']} {plural}"


def cell(result, name):
    if result is None or "failed" in result:
        return "–"
    return f"{result['ms']:.2f}" if name == "resnet" else f"{result['ms']:.2f} ({result['ratio']:.2f})"


def times(entries, results):
    """A row an engine: milliseconds, and how many times ours."""
    lines = ["| ms (times ours) | " + " | ".join(map(heading, entries)) + " |"]
    lines.append("| --- |" + " ---: |" * len(entries))
    for name in names(entries):
        cells = (cell(entry["engines"].get(name), name) for entry in entries)
        lines.append(f"| {title(name, results)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def failures(results):
    said = {}
    errors = []
    for entry in results["times"]:
        for name, result in entry["engines"].items():
            if "failed" in result:
                said.setdefault(f"{engines.TITLES[name]}: {result['failed']}", []).append(heading(entry))
            else:
                errors.append(result["error"])
    whose = "the largest" if results["precision"] == "f32" else "their root mean square"
    lines = [f"Answers differ from ours by at most {max(errors):.0e} of {whose}."]
    return lines + [f"{text} ({'; '.join(where)})" for text, where in said.items()]


def start_up(results):
    lines = [
        f"{results['start']['network']}, one thread, files in the page cache. Cold start is from the"
        " start of a process to its end, with one answer in between; of Python's engines it"
        " includes Python and its imports, which is not their fault, and their memory is without"
        " those of Python and NumPy.",
        "",
        "| | cold start, s | peak memory, MB |",
        "| --- | ---: | ---: |",
    ]
    for name, result in results["start"]["engines"].items():
        if "failed" in result:
            continue
        mark = "*" if name in engines.PYTHON else ""
        lines.append(f"| {title(name, results)} | {result['seconds']:.2f}{mark} | {result['bytes'] / 1e6:.0f} |")
    return "\n".join(lines)


def packed(networks):
    lines = [
        "One picture on one thread, of packed weights in the page cache: `resnet run` from the start of the process to its"
        " end, and the most memory that it had.",
        "",
        "| | int8, s | f32, s | part | int8, MB | f32, MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for network, found in networks.items():
        int8, f32 = found["int8"], found["f32"]
        lines.append(
            f"| {network} | {int8['seconds']:.3f} | {f32['seconds']:.3f} | {int8['seconds'] / f32['seconds']:.2f}"
            f" | {int8['bytes'] / 1e6:.1f} | {f32['bytes'] / 1e6:.1f} |")
    return "\n".join(lines)


WIDTH, LABEL, BAR, GAP, MARGIN = 760, 230, 18, 5, 12


def svg(results):
    """Bars, one group a network and number of threads; short is fast."""
    body, y = [], 0
    for entry in results["times"]:
        timed = {n: r for n, r in entry["engines"].items() if "ms" in r}
        longest = max(result["ms"] for result in timed.values())
        y += 22
        title_text = f'{escape(heading(entry))}, batch {results["batch"]}: ms (times ours)'
        body.append(f'<text x="0" y="{y}" class="head">{title_text}</text>')
        y += 8
        for name in sorted(timed, key=lambda name: timed[name]["ms"]):
            width = (WIDTH - LABEL - 110) * timed[name]["ms"] / longest
            kind = "ours" if name == "resnet" else "bar"
            middle = y + BAR - 5
            body += [
                f'<text x="{LABEL - 8}" y="{middle}" text-anchor="end">{escape(title(name, results))}</text>',
                f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" class="{kind}"/>',
                f'<text x="{LABEL + width + 6:.1f}" y="{middle}">{escape(cell(timed[name], name))}</text>',
            ]
            y += BAR + GAP
        y += 10
    style = (
        "text{font:12px sans-serif;fill:#24292f}.head{font-weight:bold}.bar{fill:#9aa7b5}.ours{fill:#c2410c}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}}"
    )
    width, height = WIDTH + 2 * MARGIN, y + MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="{-MARGIN} 0 {width} {height}">'
        f"<style>{style}</style>\n" + "\n".join(body) + "\n</svg>\n"
    )
