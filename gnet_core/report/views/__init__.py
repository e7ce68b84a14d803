"""The sentences, tables and plots that a report makes of a suite.

A suite declares its view, a subclass of section.Section, which owns what differs between kinds of question: answers,
picture, columns, and which of its sentences may stand first. gnet_core.report.summary knows all views by name.
"""
