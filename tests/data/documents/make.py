#!/usr/bin/env python3
"""Writes the documents of this folder with the writers that people use:
pip install python-docx python-pptx openpyxl odfpy ebooklib reportlab pypdf; make.py [FOLDER]"""
import datetime
import email.message
import pathlib
import sys

import docx
import ebooklib.epub
import odf.opendocument
import odf.table
import odf.text
import openpyxl
import pptx
import pypdf
import reportlab.pdfgen.canvas

folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
folder = folder if folder.is_dir() else folder.parent


def make_docx():
    d = docx.Document()
    d.add_heading("The lighthouse", 1)
    d.add_paragraph("It was built by Ruth Marlow in 1811.")
    p = d.add_paragraph("The keeper is ")
    p.add_run("Tom").bold = True
    p.add_run(" Håkansson.")
    table = d.add_table(2, 2)
    for (r, c), text in {(0, 0): "Lamp", (0, 1): "Paraffin", (1, 0): "Height", (1, 1): "36 m"}.items():
        table.cell(r, c).text = text
    d.add_paragraph("It went dark in 1988.")
    d.save(folder / "lighthouse.docx")


def make_pptx():
    p = pptx.Presentation()
    for title, body in [("Budget", "Total: 40 crowns"), ("Team", "Led by Ada Berg\nFounded in Lund")]:
        slide = p.slides.add_slide(p.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = body
    p.slides[1].notes_slide.notes_text_frame.text = "Thank Olof."
    p.save(folder / "slides.pptx")


def make_xlsx():
    w = openpyxl.Workbook()
    s = w.active
    s.title = "Costs"
    s.append(["Item", "Price", "Bought"])
    s.append(["Lamp", 12.5, datetime.date(2024, 3, 5)])
    s.append(["Rope", 3, datetime.datetime(2024, 3, 6, 14, 30)])
    t = w.create_sheet("People")
    t["B4"] = "Keeper: Tom"
    t["A5"] = True
    w.save(folder / "costs.xlsx")


def make_odt():
    d = odf.opendocument.OpenDocumentText()
    d.text.addElement(odf.text.H(outlinelevel=1, text="The ship"))
    p = odf.text.P(text="She sank")
    p.addElement(odf.text.S(c=2))
    p.addText("in 1804 off Arbroath.")
    d.text.addElement(p)
    table = odf.table.Table()
    row = odf.table.TableRow()
    for text in ("Crew", "491"):
        cell = odf.table.TableCell()
        cell.addElement(odf.text.P(text=text))
        row.addElement(cell)
    table.addElement(row)
    d.text.addElement(table)
    d.text.addElement(odf.text.P(text="Nobody was saved."))
    d.save(folder / "ship.odt")


def make_epub():
    b = ebooklib.epub.EpubBook()
    b.set_identifier("kvasir-test")
    b.set_title("Two tales")
    chapters = []
    for i, text in enumerate(["The fox lived under the oak.", "The hare lived in the meadow &amp; sang."], 1):
        c = ebooklib.epub.EpubHtml(title=f"Tale {i}", file_name=f"tale{i}.xhtml", lang="en")
        c.content = f"<h1>Tale {i}</h1><p>{text}</p>"
        b.add_item(c)
        chapters.append(c)
    b.toc = chapters
    b.spine = chapters
    b.add_item(ebooklib.epub.EpubNcx())
    b.add_item(ebooklib.epub.EpubNav())
    ebooklib.epub.write_epub(folder / "tales.epub", b)


def make_pdf():
    c = reportlab.pdfgen.canvas.Canvas(str(folder / "report.pdf"))
    for lines in (["Annual report", "The audit was made by Nils Ek."], [], ["Turnover was 7 million crowns."]):
        for i, line in enumerate(lines):
            c.drawString(72, 720 - 16 * i, line)
        c.showPage()
    c.save()
    locked = pypdf.PdfWriter(clone_from=folder / "report.pdf")
    locked.encrypt("secret")
    locked.write(folder / "locked.pdf")
    empty = reportlab.pdfgen.canvas.Canvas(str(folder / "scanned.pdf"))
    empty.rect(10, 10, 100, 100)
    empty.showPage()
    empty.save()


def make_email():
    m = email.message.EmailMessage()
    m["Subject"] = "Möte i Malmö"
    m["From"] = "Åsa Lind <asa@example.org>"
    m["To"] = "Tom <tom@example.org>"
    m["Date"] = "Tue, 05 Mar 2024 10:00:00 +0100"
    m.set_content("We meet at Stortorget.\n\nBring the keys; they lie in the green box under the stairs = cellar.\n", cte="quoted-printable")
    m.add_alternative("<p>We meet at <b>Stortorget</b>.</p>", subtype="html")
    m.add_attachment(b"\x00\x01", maintype="application", subtype="octet-stream", filename="karta.bin")
    outer = email.message.EmailMessage()
    outer["Subject"] = "Fwd: meeting"
    outer["From"] = "tom@example.org"
    outer.set_content("See below.\n")
    outer.add_attachment(m)
    (folder / "meeting.eml").write_bytes(m.as_bytes())
    (folder / "forwarded.eml").write_bytes(outer.as_bytes())


for make in (make_docx, make_pptx, make_xlsx, make_odt, make_epub, make_pdf, make_email):
    make()
