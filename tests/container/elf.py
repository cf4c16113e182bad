"""Reads as much of a 64-bit ELF file as tells whether it needs anything of the system."""

import struct

INTERPRETER, SYMBOLS = 3, 2


def faults(binary):
    """Why it would not run alone, or is larger than it need be."""
    if binary[:5] != b"\x7fELF\x02":
        return ["is no 64-bit ELF file"]
    programs_at, sections_at = struct.unpack_from("<QQ", binary, 32)
    program_bytes, programs, section_bytes, sections = struct.unpack_from("<HHHH", binary, 54)
    kinds = [struct.unpack_from("<I", binary, programs_at + index * program_bytes)[0] for index in range(programs)]
    names = [struct.unpack_from("<I", binary, sections_at + index * section_bytes + 4)[0] for index in range(sections)]
    found = []
    if INTERPRETER in kinds:
        found.append("is not static: it names an interpreter")
    if SYMBOLS in names:
        found.append("is not stripped: it has a table of symbols")
    return found
