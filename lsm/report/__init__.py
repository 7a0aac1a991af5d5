"""The parts of the report, a module a part; page.html, page.css and page.js are its page."""
