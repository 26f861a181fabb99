"""The scripts of the page, in one scope; their order is in `page.SCRIPTS`."""
