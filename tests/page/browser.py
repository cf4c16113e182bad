"""A browser before a stage, that keeps what the browser complains of."""

import re

from axe_playwright_python.sync_playwright import Axe

from stage import PATIENCE_S, Stage

# What the policy of the page refuses is told to the page itself, and kept here.
WATCH = "window.refusedByPolicy = []; document.addEventListener('securitypolicyviolation', (event) => window.refusedByPolicy.push(event.violatedDirective + ' ' + event.blockedURI));"


class Browser:
    def __init__(self, launched, binary, folder, shots):
        self.launched, self.binary, self.folder, self.shots = launched, binary, folder, shots
        self.stage, self.pages, self.complaints, self.expected = None, [], [], []

    def set(self, *names, server=""):
        """A relay with these destinations, beside Thrad's stand-in."""
        self.stage = Stage(self.binary, self.folder, names, server)
        return self.stage

    def expects(self, pattern):
        """From here on a complaint that is like this is what the claim causes."""
        self.expected.append(re.compile(pattern))

    def page(self, width=1280, height=900, scheme="light", motion="no-preference"):
        """Another person with a browser; the page is not opened yet."""
        viewport = {"width": width, "height": height}
        context = self.launched.new_context(viewport=viewport, color_scheme=scheme, reduced_motion=motion, timezone_id="Europe/Berlin")
        context.set_default_timeout(PATIENCE_S * 1000)
        context.add_init_script(WATCH)
        page = context.new_page()
        page.on("console", lambda message: message.type in ("error", "warning") and self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"a script spoke: {dialog.message}"))
        self.pages.append(page)
        return page

    def open(self, **options):
        """The page, once it shows how things are."""
        page = self.page(**options)
        page.goto(self.stage.admin)
        page.locator("#link-text", has_text="Live").wait_for()
        return page

    def shoot(self, page, name):
        page.screenshot(path=self.shots / f"{name}.png", full_page=True)

    def check_access(self, page, what):
        """No rule of axe-core is broken: WCAG 2.2 A and AA, and its good practices."""
        found = Axe().run(page).response["violations"]
        said = [f"{rule['id']}: {rule['help']}: {[node['html'] for node in rule['nodes']]}" for rule in found]
        assert not said, f"{what}:\n" + "\n".join(said)

    def end(self):
        """Nothing was complained of, and nothing of the policy's was tried."""
        for page in self.pages:
            refused = page.evaluate("window.refusedByPolicy")
            assert refused == [], refused
            page.context.close()
        unexpected = [text for text in self.complaints if not any(pattern.search(text) for pattern in self.expected)]
        assert unexpected == [], unexpected
        self.stage.end()

    def cut_off(self, name):
        for number, page in enumerate(self.pages):
            if not page.is_closed():
                self.shoot(page, f"failed-{name}-{number}")
                page.context.close()
        if self.stage:
            self.stage.end()
