"""Tables of settings in the docs are made from their definitions."""

import dataclasses

from job_runtime.command_line.settings import setting
from scripts import settings_tables


@dataclasses.dataclass(frozen=True)
class Example:
    min_notes: int | None = setting(None, "fewer are a mistake; see --max-notes", at_least=1)
    path: str = setting("a_b", "such as a|b")


TABLE = """<!-- settings: tests.scripts.test_settings_tables.Example -->

| flag | value | default | meaning |
|---|---|---|---|
| `--min-notes` | a whole number, 1 or more | none | fewer are a mistake; see `--max-notes` |
| `--path` | text | a\\_b | such as a\\|b |

<!-- /settings -->
"""


def test_a_table_is_made_of_the_definitions_and_the_rest_of_the_page_stays():
    old = TABLE.replace("1 or more", "2 or more")
    assert settings_tables.with_tables(f"# Page\n\n{old}\ntext\n") == f"# Page\n\n{TABLE}\ntext\n"
    some = settings_tables.with_tables(TABLE.replace(".Example", ".Example:path"))
    assert "--path" in some and "--min-notes" not in some


def test_old_tables_are_named_and_written_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(settings_tables, "DOCS", tmp_path)
    (tmp_path / "page.md").write_text(TABLE.replace("none", "7"))
    assert settings_tables.main(["--check"]) == 1
    assert capsys.readouterr().out.startswith(f"{tmp_path}/page.md: a table of settings is not as the code defines it")
    assert (settings_tables.main([]), settings_tables.main(["--check"])) == (0, 0)
    assert (tmp_path / "page.md").read_text() == TABLE
