"""PDFs of text, written by hand: as many pages as there are lists of lines."""

from __future__ import annotations

from collections.abc import Sequence


def pdf(
    *pages: Sequence[str],
    size: tuple[float, float] = (595, 842),
    trailer: str = "",
    points: int = 18,
) -> bytes:
    """A PDF whose pages have these lines, in Helvetica."""
    count = len(pages)
    kids = " ".join(f"{4 + 2 * at} 0 R" for at in range(count))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for at, lines in enumerate(pages):
        shown = "".join(
            f"BT /F1 {points} Tf 50 {size[1] - 60 - 1.6 * points * row} Td ({text}) Tj ET\n"
            for row, text in enumerate(lines)
        )
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {size[0]} {size[1]}] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * at} 0 R >>",
            f"<< /Length {len(shown)} >>\nstream\n{shown}endstream",
        ]
    return assembled(objects, trailer)


def assembled(objects: Sequence[str], trailer: str = "") -> bytes:
    """A PDF of these objects, the first of which is its catalogue."""
    made, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(made))
        made += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n"
    table += "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"trailer << /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\n"
    return made + f"{table}{end}startxref\n{len(made)}\n%%EOF\n".encode("latin-1")


def encrypted() -> bytes:
    """A PDF that opens with a password alone."""
    key = "a" * 32
    return pdf(
        ["a"], trailer=f"/Encrypt << /Filter /Standard /V 1 /R 2 /O ({key}) /U ({key}) /P -4 >>"
    )
