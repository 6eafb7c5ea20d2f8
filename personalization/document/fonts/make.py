"""Makes Vazirmatn-Receipt.ttf from Vazirmatn-Regular.ttf 33.003 (OFL 1.1).

    python3 make.py Vazirmatn-Regular.ttf Vazirmatn-Receipt.ttf

It keeps the letters that a receipt can need and drops the tables that only a shaping
engine reads. Forms of Arabic letters that Unicode gives no code of their own (Pashto,
above all) get one in the private use area, since the PDF library reaches glyphs by
code alone: U+E000 + 4 * (letter - U+0600) + 1 for the final, 2 for the initial, 3 for
the medial form. Needs fontTools 4.38 or later.
"""
import sys

from fontTools import subset
from fontTools.ttLib import TTFont

source, target = sys.argv[1:]
font = TTFont(source, recalcTimestamp=False)
glyphs = set(font.getGlyphOrder())
tables = [t for t in font["cmap"].tables if t.isUnicode()]
base = font.getBestCmap()
for letter in range(0x0620, 0x0700):
    name = base.get(letter)
    for n, form in ((1, "fina"), (2, "init"), (3, "medi")):
        if name and f"{name}.{form}" in glyphs:
            for table in tables:
                table.cmap[0xE000 + 4 * (letter - 0x0600) + n] = f"{name}.{form}"

options = subset.Options(
    hinting=False, layout_features=[], notdef_outline=True, name_IDs=["*"], recalc_timestamp=False,
    drop_tables=subset.Options().drop_tables + ["GSUB", "GPOS", "GDEF", "gasp"],
)
wanted = [*range(0x20, 0x7F), *range(0xA0, 0x180), *range(0x0600, 0x0700), *range(0x2010, 0x2027),
          *range(0xE000, 0xE400), *range(0xFB50, 0xFE00), *range(0xFE70, 0xFEFD)]
subsetter = subset.Subsetter(options)
subsetter.populate(unicodes=wanted)
subsetter.subset(font)
font.save(target)
