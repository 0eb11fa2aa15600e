"""Whisper's languages by code and by name.

Clients name them by ISO 639-1 (``de``), 639-2 (``deu``, ``ger``) and 639-3 (``cmn``, which is of
``zh``), in English (``german``), and by other names of Whisper's own (``castilian``).
"""

from __future__ import annotations


def language_name(code: str) -> str:
    """OpenAI answers with English names in lower case; an unnamed code stands for itself."""
    return NAMES.get(code, code)


# ISO 639 codes that Whisper knows, by their English names.
_TABLE = """
af afrikaans  am amharic  ar arabic  as assamese  az azerbaijani  ba bashkir  be belarusian
bg bulgarian  bn bengali  bo tibetan  br breton  bs bosnian  ca catalan  cs czech  cy welsh
da danish  de german  el greek  en english  es spanish  et estonian  eu basque  fa persian
fi finnish  fo faroese  fr french  gl galician  gu gujarati  ha hausa  haw hawaiian  he hebrew
hi hindi  hr croatian  ht haitian  hu hungarian  hy armenian  id indonesian  is icelandic
it italian  ja japanese  jw javanese  ka georgian  kk kazakh  km khmer  kn kannada  ko korean
la latin  lb luxembourgish  ln lingala  lo lao  lt lithuanian  lv latvian  mg malagasy  mi maori
mk macedonian  ml malayalam  mn mongolian  mr marathi  ms malay  mt maltese  my myanmar
ne nepali  nl dutch  nn nynorsk  no norwegian  oc occitan  pa punjabi  pl polish  ps pashto
pt portuguese  ro romanian  ru russian  sa sanskrit  sd sindhi  si sinhala  sk slovak
sl slovenian  sn shona  so somali  sq albanian  sr serbian  su sundanese  sv swedish  sw swahili
ta tamil  te telugu  tg tajik  th thai  tk turkmen  tl tagalog  tr turkish  tt tatar
uk ukrainian  ur urdu  uz uzbek  vi vietnamese  yi yiddish  yo yoruba  yue cantonese  zh chinese
"""
_WORDS = _TABLE.split()
NAMES = dict(zip(_WORDS[::2], _WORDS[1::2], strict=True)) | {"ht": "haitian creole"}
# The codes of three letters, for reference works and for books, and of the languages that the code
# stands for where they have codes of their own (``arb``, standard Arabic).
_THREE_LETTERS = """
af:afr am:amh ar:ara,arb as:asm az:aze,azj ba:bak be:bel bg:bul bn:ben bo:bod,tib br:bre bs:bos
ca:cat cs:ces,cze cy:cym,wel da:dan de:deu,ger el:ell,gre en:eng es:spa et:est,ekk eu:eus,baq
fa:fas,per,pes,prs fi:fin fo:fao fr:fra,fre gl:glg gu:guj ha:hau he:heb hi:hin hr:hrv ht:hat hu:hun
hy:hye,arm id:ind is:isl,ice it:ita ja:jpn jw:jav ka:kat,geo kk:kaz km:khm kn:kan ko:kor la:lat
lb:ltz ln:lin lo:lao lt:lit lv:lav,lvs mg:mlg,plt mi:mri,mao mk:mkd,mac ml:mal mn:mon,khk mr:mar
ms:msa,may,zsm mt:mlt my:mya,bur ne:nep,npi nl:nld,dut nn:nno no:nor,nob oc:oci pa:pan pl:pol
ps:pus,pbt pt:por ro:ron,rum,mol ru:rus sa:san sd:snd si:sin sk:slk,slo sl:slv sn:sna so:som
sq:sqi,alb,als sr:srp su:sun sv:swe sw:swa,swh ta:tam te:tel tg:tgk th:tha tk:tuk tl:tgl,fil tr:tur
tt:tat uk:ukr ur:urd uz:uzb,uzn vi:vie yi:yid,ydd yo:yor zh:zho,chi,cmn
"""
_LONG = {
    other: code
    for code, _, others in (entry.partition(":") for entry in _THREE_LETTERS.split())
    for other in others.split(",")
}
# What Whisper calls otherwise, codes that are no more, and further names.
_OTHERS = {
    "jv": "jw", "nb": "no", "iw": "he", "in": "id", "ji": "yi", "mo": "ro",
    "burmese": "my", "castilian": "es", "farsi": "fa", "filipino": "tl", "flemish": "nl",
    "haitian": "ht", "letzeburgesch": "lb", "mandarin": "zh", "moldavian": "ro", "moldovan": "ro",
    "panjabi": "pa", "pushto": "ps", "sinhalese": "si", "valencian": "ca",
}  # fmt: skip
CODES = {name: code for code, name in NAMES.items()} | _LONG | _OTHERS
# Any language: what other services' clients send; ISO 639-2 has the two of three letters.
ANY = frozenset({"", "auto", "auto-detect", "autodetect", "detect", "mul", "multi", "und"})
