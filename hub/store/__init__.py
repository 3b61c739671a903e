"""The hub's durable state: the only place with SQL.

`engine` runs transactions, `schema` and `migrations` say what the tables are, and one
module per aggregate has the functions that run inside a transaction.
"""
