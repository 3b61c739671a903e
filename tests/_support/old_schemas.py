"""Databases as earlier programs left them."""

import sqlite3

_NEWER = """
DROP VIEW fact_words;
DROP TRIGGER facts_insert;
DROP TRIGGER facts_delete;
DROP TRIGGER facts_update;
DROP TRIGGER facts_updated;
DROP TABLE facts_fts;
DROP TABLE fact_pieces;
DROP TABLE facts;
"""
_FACTS_2 = """
CREATE TABLE facts (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, key TEXT, room INTEGER,
    author TEXT NOT NULL, text TEXT NOT NULL, ts BIGINT NOT NULL, embedding BLOB,
    embedding_model TEXT
);
CREATE VIRTUAL TABLE facts_fts USING fts5(
    text, content='facts', content_rowid='id', tokenize='unicode61');
CREATE TRIGGER facts_fts_insert AFTER INSERT ON facts BEGIN
    INSERT INTO facts_fts (rowid, text) VALUES (new.id, new.text); END;
CREATE TRIGGER facts_fts_delete AFTER DELETE ON facts BEGIN
    INSERT INTO facts_fts (facts_fts, rowid, text)
    VALUES ('delete', old.id, old.text); END;
CREATE TRIGGER facts_fts_update AFTER UPDATE OF text ON facts BEGIN
    INSERT INTO facts_fts (facts_fts, rowid, text)
    VALUES ('delete', old.id, old.text);
    INSERT INTO facts_fts (rowid, text) VALUES (new.id, new.text); END;
"""


_ADMISSION = """
DROP INDEX messages_requester;
DROP INDEX messages_in_service;
DROP INDEX directory_name;
ALTER TABLE rooms DROP COLUMN open;
ALTER TABLE members DROP COLUMN approved;
ALTER TABLE members DROP COLUMN guest;
ALTER TABLE messages DROP COLUMN requester;
ALTER TABLE service_workers DROP COLUMN admitted;
ALTER TABLE directory DROP COLUMN name;
"""


_COUNTS = """
DROP TRIGGER facts_count_insert;
DROP TRIGGER facts_count_delete;
DROP TRIGGER facts_count_settle;
DROP TRIGGER facts_count_leave;
DROP TABLE fact_counts;
"""


def make_schema_4(database: sqlite3.Connection) -> None:
    """Turn a new database into one that did not count its facts."""
    database.executescript(_COUNTS)
    database.execute("UPDATE meta SET value = '4' WHERE key = 'schema_version'")


def make_schema_3(database: sqlite3.Connection) -> None:
    """Into one where nobody was admitted to services."""
    make_schema_4(database)
    database.executescript(_ADMISSION)
    database.execute("UPDATE meta SET value = '3' WHERE key = 'schema_version'")


def make_schema_2(database: sqlite3.Connection) -> None:
    """Without facts, into one that indexed whole facts."""
    make_schema_3(database)
    database.executescript(_NEWER)
    database.executescript(_FACTS_2)
    database.execute("UPDATE meta SET value = '2' WHERE key = 'schema_version'")


def make_schema_1(database: sqlite3.Connection) -> None:
    """Into one that did not know who had been a member."""
    make_schema_2(database)
    database.execute("DROP TABLE former_members")
    database.execute("UPDATE meta SET value = '1' WHERE key = 'schema_version'")
