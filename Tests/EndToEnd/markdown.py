"""What stands in a Markdown file: its blocks of code, and the commands in them."""

import re


class Block:
    """A fenced or indented block. `language` is empty for indented ones."""

    def __init__(self, language, text, heading, line):
        self.language, self.text, self.heading, self.line = language, text, heading, line

    def __repr__(self):
        return f"<{self.language or 'indented'} block in line {self.line}, under '{self.heading}'>"

    def commands(self):
        """Lines, without what stands behind a `#`, and with lines that end in a backslash joined."""
        for line in re.sub(r"\\\n\s*", "", self.text).split("\n"):
            line = re.sub(r"(^|\s+)#( .*)?$", "", line).strip()
            if line:
                yield line


def blocks(text):
    """Every block of code, in order."""
    found, heading, number = [], "", 0
    lines = text.split("\n")
    while number < len(lines):
        line = lines[number]
        start = number
        if fence := re.match(r"( *)```(\S*)", line):
            number += 1
            while not re.match(r" *```", lines[number]):
                number += 1
            body = [inner.removeprefix(fence[1]) for inner in lines[start + 1:number]]
            found.append(Block(fence[2] or "text", "\n".join(body), heading, start + 1))
        elif line.startswith("    ") and not lines[start - 1].strip():
            # In a list four spaces are a paragraph of the entry; here lists are indented by two.
            while number + 1 < len(lines) and (lines[number + 1].startswith("    ") or not lines[number + 1].strip()):
                number += 1
            found.append(Block("", "\n".join(inner[4:] for inner in lines[start:number + 1]).strip("\n"), heading, start + 1))
        elif re.match(r"#{1,6} ", line):
            heading = line.lstrip("#").strip()
        number += 1
    return found


def anchors(text):
    """Where links within the file, and from others, may lead."""
    outside = re.sub(r"(?ms)^ *```.*?^ *```", "", text)
    return {re.sub(r"[^\w\- ]", "", name.replace("`", "").strip().lower()).replace(" ", "-")
            for name in re.findall(r"(?m)^#{1,6} (.*)$", outside)}


def links(text):
    """Targets of links, without those in code."""
    outside = re.sub(r"(?ms)^ *```.*?^ *```|`[^`\n]*`", "", text)
    return re.findall(r"\]\(([^)\s]+)\)", outside)
