"""README.md, taken apart: headings, links, blocks of code, commands and what they are shown to print."""

import re
from dataclasses import dataclass, field


@dataclass
class Block:
    """Code, and where it stands. `language` is empty for what is indented."""

    line: int
    section: str
    language: str
    text: str


@dataclass
class Command:
    """A command as it stands, and the lines that it is shown to print: none where none are shown."""

    line: int
    section: str
    text: str
    shown: list[str] = field(default_factory=list)


@dataclass
class Readme:
    headings: list[str]
    blocks: list[Block]
    # What is neither code nor heading: line and text.
    prose: list[tuple[int, str]]

    @classmethod
    def of(cls, text):
        readme, block, section = cls([], [], []), None, ""
        for number, line in enumerate(text.splitlines(), 1):
            fence = re.match(r"```(\w*)$", line)
            if block and block.language and not fence:
                block.text += line + "\n"
            elif block and block.language:
                block = None
            elif fence:
                block = Block(number + 1, section, fence.group(1) or "text", "")
                readme.blocks.append(block)
            elif line.startswith("    "):
                if not block:
                    block = Block(number, section, "", "")
                    readme.blocks.append(block)
                block.text += line[4:] + "\n"
            elif block and not line:
                block.text += "\n"
            else:
                block = None
                if heading := re.match(r"#+ (.*)", line):
                    section = heading.group(1)
                    readme.headings.append(section)
                else:
                    readme.prose.append((number, line))
        return readme

    def anchors(self):
        """As GitHub makes them of headings."""
        found = {}
        for heading in self.headings:
            anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            seen = found.setdefault(anchor, 0)
            found[anchor] += 1
            yield f"{anchor}-{seen}" if seen else anchor

    def links(self):
        """Line and target of each."""
        for number, line in self.prose:
            without_code = re.sub(r"`[^`]*`", "", line)
            for target in re.findall(r"\]\(([^)\s]*)\)", without_code):
                yield number, target

    def spans(self):
        """Line and text of what is code within a line."""
        for number, line in self.prose:
            for span in re.findall(r"`([^`]+)`", line):
                # In a table a bar is written so.
                yield number, span.replace("\\|", "|")

    def commands(self):
        """In the order of the text."""
        for block in self.blocks:
            if block.language == "sh":
                yield from commands_of_script(block)
            elif block.language in ("", "console"):
                yield from commands_of_session(block)


def commands_of_script(block):
    begun, text = block.line, ""
    for number, line in enumerate(block.text.splitlines(), block.line):
        if not text:
            begun = number
        text += line
        if text.endswith("\\"):
            text = text[:-1]
        elif text.strip():
            yield Command(begun, block.section, text)
            text = ""


def commands_of_session(block):
    command = None
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ "):
            if command:
                yield command
            command = Command(number, block.section, line[2:])
        elif command:
            command.shown.append(line)
    if command:
        yield command


def differs(shown, printed):
    """How what is printed has another shape than what is shown, or nothing: times, ids and figures may be others, and `…` stands
    for any further lines."""
    shown, printed = shape("\n".join(shown)), shape(printed)
    if shown and shown[-1] == "…":
        shown.pop()
        printed = printed[: len(shown)]
    if shown == printed:
        return ""
    lines = (f"{'shown' if line in shown else 'printed'}: {line}" for line in shown + printed if (line in shown) != (line in printed))
    return "\n".join(lines) or f"the lines in another order: {printed}"


def shape(text):
    for pattern, name in SHAPES:
        text = re.sub(pattern, name, text)
    return [line.strip() for line in text.strip().splitlines()]


SHAPES = [
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
    (r"\b\d+(\.\d+)? (ms|s|min|h)\b", "SPAN"),
    (r"\b\d+(\.\d+)?\b", "N"),
    (r"─+", "─"),
    (r"[ \t]+", " "),
]
