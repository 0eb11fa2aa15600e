"""Whisper's languages by code and by name."""

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
# What Whisper calls otherwise, and further names.
_OTHERS = {"jv": "jw", "nb": "no", "fil": "tl", "iw": "he", "in": "id", "ji": "yi", "cmn": "zh"}
CODES = {name: code for code, name in NAMES.items()} | _OTHERS | {"haitian": "ht"}
