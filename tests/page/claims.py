"""What the page promises, a function each. Waiting is Playwright's: for a state, never for a time."""

import datetime
import hashlib
import json
import re

from stage import DIGEST, TOKEN, eventually

HOSTILE = "</pre><script>alert('taken for HTML')</script><img src=x onerror=alert(1)>"
REFUSED = (401, '{"error":"the account token is not valid"}')
REJECTED = (400, f"no such campaign {HOSTILE}")
OVERLOADED = (503, "overloaded")
# What a browser complains of: no token or a wrong one, what the relay does not have, a relay that is gone or about to go.
NO_TOKEN = "status of 401"
NOT_THERE = "status of 404"
GONE = "net::ERR_|status of 503"


def tile(page, name):
    return page.locator(".tile", has=page.get_by_role("heading", name=name, exact=True))


def concern(page, text):
    return page.locator(".concern", has_text=text)


def letters(page):
    return page.locator("#dead-list .letter")


def troubled(browser):
    """Four destinations, each with a trouble of its own, but the last."""
    stage = browser.set("impact", "scaleo", "partner", "warehouse")
    stage.platforms.answers |= {"impact": REFUSED, "scaleo": REJECTED, "partner": OVERLOADED}
    for number in range(12):
        stage.send(f"order-{number}", customer={"email": "ada@example.com"}, click_ids={"thrad": f"clk_{number}"})
    stage.settles("impact", state="suspended", pending=12)
    stage.settles("partner", state="open", pending=12)
    stage.settles("scaleo", dead=12)
    stage.settles("warehouse", delivered=12)
    return stage


def what_is_stuck_stands_first_with_why_and_what_to_do(browser):
    troubled(browser)
    page = browser.open()
    first = page.locator(".concern").first
    said = re.sub(r"\s+", " ", first.inner_text())
    assert re.search(r"impact is suspended since \d\d:\d\d: status 401 Unauthorized; 12 deliveries wait, the oldest for \d+ s", said), said
    assert "What to do: Put the right credential" in said, said
    concern(page, "partner does not answer as it should").wait_for()
    concern(page, "scaleo has 12 dead letters").wait_for()
    assert page.locator(".concern").count() == 3
    assert page.title() == "(!) capi-relay"
    for name, words in [("impact", "suspended since"), ("partner", "failing since"), ("warehouse", "active")]:
        tile(page, name).get_by_text(words).wait_for()
    drawn = tile(page, "warehouse").get_by_role("img", name=re.compile("12 delivered, 0 to be tried again, 0 given up"))
    assert drawn.locator("rect").count() > 0
    browser.shoot(page, "wide-light")
    browser.shoot(browser.open(scheme="dark"), "wide-dark")


def all_is_well_where_it_is(browser):
    stage = browser.set("warehouse")
    stage.send("order-1")
    page = browser.open()
    page.get_by_text("All is well. 2 destinations active, nothing waits, no dead letters.").wait_for()
    page.get_by_text("There are none.").wait_for()
    assert page.title() == "capi-relay"
    browser.shoot(page, "well")


def what_is_on_the_way_is_told_at_once(browser):
    stage = browser.set("warehouse")
    stage.write(more={"warehouse": 'limits = { rate = "1/m", burst = 1 }'})
    stage.call(f"{stage.admin}/admin/reload", {})
    page = browser.page()
    # No time passes for the page: what it tells anew, it tells for what it has heard.
    page.clock.set_fixed_time(datetime.datetime.now(datetime.timezone.utc))
    page.goto(stage.admin)
    page.get_by_text("All is well. 2 destinations active, nothing waits, no dead letters.").wait_for()
    for number in range(3):
        stage.send(f"order-{number}")
    page.get_by_text("All is well. 2 destinations active, 2 on the way, no dead letters.").wait_for()


def a_change_is_seen_without_a_reload(browser):
    stage = troubled(browser)
    page = browser.open()
    page.evaluate("window.isTheSamePage = true")
    stage.platforms.answers["impact"] = (200, "{}")
    tile(page, "impact").get_by_role("button", name="Probe now").click()
    page.get_by_text("impact was probed: delivered 200 after").wait_for()
    tile(page, "impact").get_by_text("active").wait_for()
    concern(page, "impact is suspended").wait_for(state="detached")
    page.locator("dt:text-is('Delivered') + dd:text-is('12')").nth(1).wait_for()
    stage.send("one-more")
    tile(page, "impact").locator("dt:text-is('Delivered') + dd:text-is('13')").wait_for()
    assert page.evaluate("window.isTheSamePage")


def what_was_today_is_yesterday_tomorrow(browser):
    stage = browser.set("impact")
    stage.platforms.answers["impact"] = REFUSED
    stage.send("order-1")
    stage.settles("impact", state="suspended", pending=1)
    page = browser.page()
    page.clock.install()
    page.goto(stage.admin)
    since = tile(page, "impact").locator(".state")
    since.filter(has_text=re.compile(r"^suspended since \d\d:\d\d$")).wait_for()
    page.clock.fast_forward("24:00:00")
    since.filter(has_text=re.compile(r"^suspended since \d+ \w+, \d\d:\d\d$")).wait_for()
    page.locator("#facts", has_text=re.compile(r"Started\d+ \w+, \d\d:\d\d")).wait_for()


def an_order_is_looked_up_with_its_attempts(browser):
    stage = troubled(browser)
    identity = stage.send(HOSTILE)
    stage.settles("scaleo", dead=13)
    page = browser.open()
    page.get_by_label("Order id, or the relay's id of a conversion").fill(HOSTILE)
    page.get_by_role("button", name="Look up", exact=True).first.click()
    page.get_by_text(f"1 conversion of order {HOSTILE}").wait_for()
    lane = page.locator(".lane", has_text="scaleo")
    assert "dead (rejected): status 400 Bad Request" in lane.inner_text()
    attempts = lane.get_by_role("list", name="Attempts, oldest first").get_by_role("listitem")
    assert attempts.count() == 1 and "rejected 400 after" in attempts.inner_text(), attempts.inner_text()
    assert HOSTILE in attempts.inner_text()
    page.locator(".lane", has_text="warehouse").get_by_text("delivered 200").wait_for()
    # By its id, the same; and what is not there is told.
    page.get_by_label("Order id, or").fill(identity)
    page.get_by_label("Order id, or").press("Enter")
    page.get_by_text(f"Conversion {identity}").wait_for()
    browser.expects(NOT_THERE)
    page.get_by_label("Order id, or").fill("nobody's order")
    page.get_by_label("Order id, or").press("Enter")
    page.get_by_text("Nothing is known of nobody's order").wait_for()
    assert page.locator("script").count() == 1 and page.locator("img").count() == 1, "a text was taken for HTML"


def an_order_whose_id_looks_like_the_relays_is_found(browser):
    stage = browser.set("warehouse")
    order = "01890a5d-ac96-774b-bcce-b302099a8057"
    identity = stage.send(order)
    page = browser.open()
    browser.expects(NOT_THERE)
    page.get_by_label("Order id, or").fill(order)
    page.get_by_label("Order id, or").press("Enter")
    page.get_by_text(f"1 conversion of order {order}").wait_for()
    page.get_by_role("heading", name=identity).wait_for()


def a_dead_letter_is_shown_and_replayed_after_a_look_at_the_plan(browser):
    stage = troubled(browser)
    page = browser.open()
    letter = letters(page).filter(has_text="order-3")
    letter.get_by_text(HOSTILE).wait_for()
    letter.get_by_role("button", name="Show").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("heading", name="The request, secrets masked").wait_for()
    shown = dialog.inner_text()
    assert "order-3" in shown and "secret-of-scaleo" not in shown, shown
    dialog.get_by_role("button", name="Close").click()

    stage.platforms.answers["scaleo"] = (200, "{}")
    sent = lambda: [body["order"] for name, status, body in stage.platforms.received if (name, status) == ("scaleo", 200)]  # noqa: E731
    letter.get_by_role("button", name="Replay").click()
    dialog.get_by_role("heading", name="Replay order order-3 at scaleo?").wait_for()
    dialog.get_by_text("1 dead letter is meant").wait_for()
    assert "order-3" in dialog.inner_text()
    if page.evaluate("Boolean(JSON.rawJSON)"):
        assert '"value": 99.90' in dialog.inner_text(), "an amount is shown as it goes out"
    browser.check_access(page, "the plan of a replay")
    browser.shoot(page, "plan")
    dialog.get_by_role("button", name="Cancel").click()
    assert stage.destination("scaleo")["dead"] == 12 and sent() == [], "a plan sends nothing"

    letter.get_by_role("button", name="Replay").click()
    dialog.get_by_role("button", name="Replay", exact=True).click()
    page.get_by_text("1 dead letter will be sent again.").wait_for()
    page.get_by_text("What people have changed").click()
    page.get_by_text(re.compile("replay .*: done of 1 · by .*loopback")).wait_for()
    stage.settles("scaleo", dead=11, delivered=1)
    letter.wait_for(state="detached")

    # The others at once, by their destination.
    page.get_by_label("Destination", exact=True).select_option("scaleo")
    page.get_by_role("button", name="Replay all of this filter").click()
    dialog.get_by_text("11 dead letters are meant").wait_for()
    dialog.get_by_role("button", name="Replay", exact=True).click()
    page.get_by_text(re.compile("replay .*: done of 11")).wait_for()
    stage.settles("scaleo", dead=0, delivered=12)
    concern(page, "scaleo").wait_for(state="detached")
    assert sorted(sent()) == sorted(f"order-{number}" for number in range(12)), sent()


def what_is_discarded_is_chosen_and_has_a_reason(browser):
    stage = troubled(browser)
    page = browser.open()
    assert page.get_by_role("button", name="Discard …", exact=True).is_disabled(), "not everything by a slip"
    for order in ["order-1", "order-2"]:
        letters(page).filter(has_text=re.compile(f"{order}\\D")).get_by_role("checkbox").check()
    page.get_by_role("button", name="Discard 2 chosen …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Discard").click()
    assert dialog.is_visible(), "a reason is needed"
    dialog.get_by_label("Why, for whoever asks later").fill("paid by hand")
    dialog.get_by_role("button", name="Discard").click()
    page.get_by_text("2 dead letters discarded.").wait_for()
    stage.settles("scaleo", dead=10)
    page.get_by_label("Order id, or").fill("order-1")
    page.get_by_label("Order id, or").press("Enter")
    page.locator(".lane", has_text="scaleo").get_by_text("paid by hand").wait_for()
    page.get_by_label("Order id", exact=True).fill("order-7")
    page.get_by_role("button", name="Filter").click()
    page.get_by_text("1 shown of 10").wait_for()
    page.get_by_label("Kind").select_option("expired")
    page.get_by_text("None that this filter means.").wait_for()


def a_discard_of_more_than_are_counted_says_at_least(browser):
    troubled(browser)
    page = browser.open()
    plan = {"until": "2026-12-01T00:00:00Z", "totals": {"matched": 20000, "whole": False, "groups": []}, "dead": [], "next": None}
    page.route("**/admin/dead/discard", lambda route: route.fulfill(json=plan))
    page.get_by_label("Destination", exact=True).select_option("scaleo")
    page.get_by_role("button", name="Discard all of this filter").click()
    page.get_by_role("dialog").get_by_text(re.compile(r"^At least 20.?000 dead letters\. Nothing more is sent")).wait_for()


def letters_of_a_destination_that_is_gone_are_counted_and_can_be_chosen(browser):
    stage = troubled(browser)
    stage.names = ("impact", "partner", "warehouse")
    stage.write()
    page = browser.open()
    concern(page, "scaleo is no longer configured").wait_for()
    page.get_by_text("10 and more shown of 12").wait_for()
    page.get_by_label("Destination", exact=True).select_option("scaleo")
    page.get_by_role("button", name="Discard all of this filter").wait_for()


def more_letters_are_shown_once_however_often_they_are_asked_for(browser):
    troubled(browser)
    page = browser.open()
    letters(page).nth(9).wait_for()
    held = []
    page.route("**/admin/dead?*after=*", lambda route: held.append(route))
    button = page.get_by_role("button", name="Show more")
    with page.expect_request("**/admin/dead?*after=*"):
        button.click()
    assert button.is_disabled()
    # Listed anew meanwhile: what was asked for before is no part of that.
    page.get_by_label("Destination", exact=True).select_option("scaleo")
    page.get_by_role("button", name="Replay all of this filter").wait_for()
    held.pop().continue_()
    page.locator("#dead-more:not([disabled])").wait_for()
    assert letters(page).count() == 10
    page.unroute("**/admin/dead?*after=*")
    button.click()
    letters(page).nth(11).wait_for()
    assert letters(page).count() == 12


def letters_behind_many_that_are_not_meant_are_found(browser):
    troubled(browser)
    page = browser.open()
    letters(page).nth(9).wait_for()
    # The relay has looked at so many, and found none among them.
    page.route("**/admin/dead?*contains=*", lambda route: route.continue_() if "after=" in route.request.url else route.fulfill(json={"dead": [], "next": before}))
    before = page.evaluate("fetch('/admin/dead?destination=scaleo&limit=3').then((answer) => answer.json()).then(({ next }) => next)")
    page.get_by_label("Contains").fill("campaign")
    page.get_by_label("Destination", exact=True).select_option("scaleo")
    page.get_by_role("button", name="Filter").click()
    page.get_by_text("9 shown of 12").wait_for()
    page.get_by_role("button", name="Discard all of this filter").wait_for()
    assert letters(page).count() == 9


def a_letter_that_dies_again_is_listed_again(browser):
    stage = troubled(browser)

    def overview(given_up):
        """Once so many have been given up at scaleo, and twelve of them are dead."""
        found = stage.call(f"{stage.admin}/admin/overview")
        [scaleo] = [one for one in found["destinations"] if one["name"] == "scaleo"]
        return found if (scaleo["dead"], sum(beat["dead"] for beat in scaleo["beats"])) == (12, given_up) else None

    told = [overview(12)]
    page = browser.page()
    # The relay looks once a second: it sees as many before as after.
    page.route("**/admin/events", lambda route: route.fulfill(content_type="text/event-stream", body=f"event: overview\ndata: {json.dumps(told[-1])}\n\n"))
    page.goto(stage.admin)
    page.get_by_label("Order id", exact=True).fill("order-3")
    page.get_by_role("button", name="Filter").click()
    page.get_by_text("1 shown of 12").wait_for()
    page.route("**/admin/dead?*order_id=*", lambda route: route.fulfill(json={"dead": [], "next": None}), times=1)
    letters(page).get_by_role("button", name="Replay").click()
    page.get_by_role("dialog").get_by_role("button", name="Replay", exact=True).click()
    page.get_by_text("None that this filter means.").wait_for()
    told.append(eventually("it dies again", lambda: overview(13)))
    letters(page).filter(has_text="order-3").wait_for()


def the_list_does_not_move_under_the_hands(browser):
    stage = troubled(browser)
    page = browser.open()
    opener = letters(page).filter(has_text="order-3").get_by_role("button", name="Show")
    opener.click()
    page.get_by_role("dialog").get_by_role("heading", name="Attempts").wait_for()
    stage.send("another")
    page.locator("#dead-newer:not([hidden])").wait_for(state="attached")
    page.keyboard.press("Escape")
    assert opener.evaluate("(button) => button === document.activeElement"), "the focus comes back"
    page.get_by_role("button", name="List them anew").click()
    page.get_by_text("10 and more shown of 13").wait_for()
    page.locator("#dead-newer[hidden]").wait_for(state="attached")
    # What was acted on may be gone: the focus is where it was listed.
    letters(page).filter(has_text="order-3").get_by_role("button", name="Discard").focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_label("Why").wait_for()
    page.keyboard.type("paid by hand")
    page.keyboard.press("Enter")
    page.get_by_text("1 dead letter discarded.").wait_for()
    letters(page).filter(has_text="order-3").wait_for(state="detached")
    assert page.evaluate("document.activeElement.id") == "dead-title"


def what_comes_late_takes_nobodys_dialog(browser):
    troubled(browser)
    page = browser.open()
    held = []
    page.route("**/admin/destinations/impact", lambda route: held.append(route))
    button = tile(page, "impact").get_by_role("button", name="Details")
    with page.expect_request("**/admin/destinations/impact"):
        button.click()
    assert button.get_attribute("aria-busy") == "true"
    tile(page, "warehouse").get_by_role("button", name="Pause").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Why").fill("month's end")
    held.pop().continue_()
    page.locator("[aria-busy=true]").wait_for(state="detached")
    dialog.get_by_role("heading", name="Pause warehouse?").wait_for()
    assert dialog.get_by_label("Why").input_value() == "month's end"
    page.keyboard.press("Escape")
    # And what is looked up: the last counts.
    page.route("**/admin/orders/order-1", lambda route: held.append(route))
    page.get_by_label("Order id, or").fill("order-1")
    with page.expect_request("**/admin/orders/order-1"):
        page.get_by_label("Order id, or").press("Enter")
    page.get_by_label("Order id, or").fill("order-2")
    page.get_by_label("Order id, or").press("Enter")
    page.get_by_text("1 conversion of order order-2").wait_for()
    with page.expect_response("**/admin/orders/order-1"):
        held.pop().continue_()
    page.evaluate("fetch('/healthz').then((answer) => answer.text())")
    assert page.get_by_text("1 conversion of order order-2").is_visible()


def a_button_does_what_it_says_when_it_is_pressed(browser):
    stage = browser.set("warehouse")
    page = browser.open()
    tile(page, "warehouse").get_by_role("button", name="Pause").focus()
    page.keyboard.down("Space")
    stage.call(f"{stage.admin}/admin/destinations/warehouse/pause", {})
    tile(page, "warehouse").get_by_text("paused since").wait_for()
    page.keyboard.up("Space")
    page.get_by_role("dialog").get_by_role("heading", name="Pause warehouse?").wait_for()
    assert stage.destination("warehouse")["state"] == "paused"


def a_relay_of_another_version_is_told(browser):
    stage = browser.set("warehouse")
    overview = stage.call(f"{stage.admin}/admin/overview")
    versions = ["99.0.0", overview["relay"]["version"]]

    def tell(route):
        overview["relay"]["version"] = versions.pop() if len(versions) > 1 else versions[0]
        route.fulfill(content_type="text/event-stream", body=f"event: overview\ndata: {json.dumps(overview)}\n\n")

    page = browser.page()
    page.route("**/admin/events", tell)
    page.goto(stage.admin)
    page.get_by_text("The relay is another version: reload this page.").wait_for()


def what_fails_behind_a_dialog_that_was_left_is_told(browser):
    troubled(browser)
    page = browser.open()
    held = []
    page.route("**/admin/destinations/warehouse/pause", lambda route: held.append(route))
    tile(page, "warehouse").get_by_role("button", name="Pause").click()
    with page.expect_request("**/admin/destinations/warehouse/pause"):
        page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    browser.expects(GONE)
    held.pop().fulfill(status=503, content_type="application/problem+json", body='{"detail": "the audit log cannot be written"}')
    page.locator("#said", has_text=re.compile(r"^\d\d:\d\d:\d\d the audit log cannot be written$")).wait_for()


def everything_is_done_with_the_keyboard_alone(browser):
    stage = troubled(browser)
    page = browser.open()
    press = page.keyboard.press

    def tab_to(name):
        """As a person does: until the focus, which is seen, is there."""
        for _ in range(80):
            press("Tab")
            focused = page.evaluate("(() => { const e = document.activeElement; return [e.innerText || e.getAttribute('aria-label') || e.id, e.getAttribute('aria-describedby') || '', getComputedStyle(e).outlineStyle]; })()")
            assert focused[2] != "none", f"the focus is not seen on {focused}"
            if name in f"{focused[0]} {focused[1]}":
                return
        raise AssertionError(f"no way to {name}")

    press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    press("Enter")
    tab_to("Pause … destination-warehouse")
    press("Enter")
    page.keyboard.type("month's end")
    press("Escape")
    assert page.get_by_role("dialog").count() == 0
    assert "Pause" in page.evaluate("document.activeElement.innerText"), "the focus comes back"
    press("Enter")
    page.keyboard.type("month's end")
    press("Enter")
    tile(page, "warehouse").get_by_text("paused since").wait_for()
    stage.settles("warehouse", state="paused")
    assert "month's end" in stage.destination("warehouse")["reason"]
    tile(page, "warehouse").get_by_role("button", name="Resume").wait_for()
    assert page.evaluate("document.activeElement.innerText") == "Resume", "the focus stays"
    press("Enter")
    stage.settles("warehouse", state="active")
    tab_to("lookup-input")
    page.keyboard.type("order-2")
    press("Enter")
    page.get_by_text("1 conversion of order order-2").wait_for()


def it_fits_a_phone_in_light_and_dark(browser):
    stage = troubled(browser)
    long = "a-very-long-order-id-" + "x" * 200
    stage.send(long)
    stage.settles("scaleo", dead=13)
    for scheme in ["light", "dark"]:
        page = browser.open(width=320, height=640, scheme=scheme)
        page.get_by_label("Order id, or").fill(long)
        page.get_by_label("Order id, or").press("Enter")
        page.get_by_text(f"1 conversion of order {long}").wait_for()
        letters(page).nth(9).wait_for()
        browser.shoot(page, f"phone-{scheme}")
        wide = page.evaluate("document.scrollingElement.scrollWidth")
        assert wide <= 320, f"{wide} pixels wide, in {scheme}"
        tile(page, "impact").get_by_role("button", name="Details").click()
        page.get_by_role("dialog").get_by_text("Last errors").wait_for()
        box = page.get_by_role("dialog").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 320, box


def nobody_is_shut_out(browser):
    troubled(browser)
    for scheme in ["light", "dark"]:
        page = browser.open(scheme=scheme)
        page.get_by_label("Order id, or").fill("order-1")
        page.get_by_label("Order id, or").press("Enter")
        page.get_by_text("1 conversion of order order-1").wait_for()
        browser.check_access(page, f"the page in {scheme}")
        tile(page, "impact").get_by_role("button", name="Details").click()
        page.get_by_role("dialog").get_by_text("Last errors").wait_for()
        browser.check_access(page, f"the details in {scheme}")
        browser.shoot(page, f"details-{scheme}")
    still = browser.open(motion="reduce")
    assert still.evaluate("document.getAnimations().length") == 0
    assert still.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    # Each state has its word and its own shape, whatever its colour.
    shapes = {name: tile(still, name).locator(".state use").get_attribute("href") for name in ["impact", "partner", "warehouse"]}
    assert len(set(shapes.values())) == 3, shapes


def a_relay_that_is_gone_is_told_and_one_that_comes_back_is_found(browser):
    stage = browser.set("warehouse")
    page = browser.open()
    browser.expects(GONE)
    stage.stop()
    page.get_by_text(re.compile(r"Disconnected since \d\d:\d\d:\d\d.*: what is shown is as of then")).wait_for()
    page.get_by_role("heading", name="As it was at").wait_for()
    assert page.title() == "(?) capi-relay", "nobody knows whether all is well"
    browser.check_access(page, "the page without a relay")
    browser.shoot(page, "disconnected")
    stage.start()
    page.locator("#link-text", has_text="Live").wait_for()
    page.get_by_role("heading", name="How it is").wait_for()
    assert page.title() == "capi-relay"


def a_refused_configuration_is_told_with_its_report(browser):
    stage = browser.set("warehouse")
    page = browser.open()
    stage.write(more={"warehouse": "metod = 'POST'"})
    concern(page, "The relay has refused a changed configuration").wait_for()
    page.get_by_text("Why the last configuration was refused").click()
    assert "metod" in page.locator("#report-text").inner_text()
    stage.write(give_up_after="2h")
    page.get_by_role("button", name="Read the configuration now").click()
    page.get_by_text(re.compile("The configuration was read: version")).wait_for()
    concern(page, "All is well").wait_for()
    page.locator("#facts", has_text=re.compile("version [23]")).wait_for()


def a_token_is_asked_for_and_kept_in_the_tab_alone(browser):
    browser.expects(NO_TOKEN)
    browser.set("warehouse", server=f'admin_token_sha256 = "{DIGEST}"')
    page = browser.page()
    page.goto(browser.stage.admin)
    field = page.get_by_label("Admin token")
    field.wait_for()
    assert page.locator("#content").is_hidden() and "warehouse" not in page.content()
    browser.check_access(page, "the question for the token")
    browser.shoot(page, "token")
    field.fill("another-token")
    page.get_by_role("button", name="Show the relay").click()
    page.get_by_text("This token is not, or no longer, one of the relay's.").wait_for()
    field.fill(TOKEN)
    field.press("Enter")
    tile(page, "warehouse").wait_for()
    assert TOKEN not in page.content() and TOKEN not in page.url
    assert page.evaluate("[document.cookie, localStorage.length]") == ["", 0]
    page.reload()
    tile(page, "warehouse").wait_for()
    other = browser.page()
    other.goto(browser.stage.admin)
    other.get_by_label("Admin token").wait_for()
    # Taken out, it shows nothing more, whatever was being done.
    tile(page, "warehouse").get_by_role("button", name="Pause").click()
    browser.stage.server = f'admin_token_sha256 = "{hashlib.sha256(b"another").hexdigest()}"'
    browser.stage.write()
    field.wait_for()
    page.get_by_text("This token is not, or no longer, one of the relay's.").wait_for()
    assert page.get_by_role("dialog").count() == 0 and "warehouse" not in page.content()


def the_token_that_was_given_last_counts(browser):
    browser.set("warehouse", server=f'admin_token_sha256 = "{DIGEST}"')
    page = browser.page()
    page.goto(browser.stage.admin)
    field = page.get_by_label("Admin token")
    field.wait_for()
    browser.expects(NO_TOKEN)
    held = []
    page.route("**/admin/events", lambda route: route.continue_() if held else held.append(route))
    with page.expect_request("**/admin/events"):
        field.fill("another-token")
        field.press("Enter")
    field.fill(TOKEN)
    field.press("Enter")
    tile(page, "warehouse").wait_for()
    # The first answer comes when nobody waits for it any more.
    held[0].fulfill(status=401, content_type="application/problem+json", body="{}")
    page.evaluate("fetch('/healthz').then((answer) => answer.text())")
    assert page.locator("#token").is_hidden() and page.locator("#content").is_visible()
    page.reload()
    tile(page, "warehouse").wait_for()


def a_page_elsewhere_changes_nothing(browser):
    stage = browser.set("warehouse")
    evil = browser.page()
    # Another site on this machine, whose script knows where the relay is.
    evil.goto(f"{stage.platforms.origin}/site")
    tried = """async (admin) => {
        const post = (path, type) => fetch(admin + path, {method: "POST", mode: "no-cors", headers: {"content-type": type}, body: "{}"});
        await Promise.allSettled([
            post("/admin/reload", "text/plain"),
            post("/admin/destinations/warehouse/pause", "text/plain"),
            fetch(admin + "/admin/destinations/warehouse/pause", {method: "POST", headers: {"content-type": "application/json"}, body: "{}"}),
        ]);
        const read = await fetch(admin + "/admin/overview").then((answer) => answer.text()).catch(() => "refused");
        return read;
    }"""
    assert evil.evaluate(tried, stage.admin) == "refused"
    overview = stage.call(f"{stage.admin}/admin/overview")
    assert overview["relay"]["last_reload"] is None, overview["relay"]
    assert stage.destination("warehouse")["state"] == "active"
    framed = browser.page()
    framed.goto(f"{stage.platforms.origin}/site")
    with framed.expect_console_message(lambda message: "frame-ancestors" in message.text):
        framed.evaluate("(admin) => { const frame = document.createElement('iframe'); frame.src = admin; document.body.append(frame); }", stage.admin)
    browser.complaints.clear()


ALL = [
    what_is_stuck_stands_first_with_why_and_what_to_do,
    all_is_well_where_it_is,
    what_is_on_the_way_is_told_at_once,
    a_change_is_seen_without_a_reload,
    what_was_today_is_yesterday_tomorrow,
    an_order_is_looked_up_with_its_attempts,
    an_order_whose_id_looks_like_the_relays_is_found,
    a_dead_letter_is_shown_and_replayed_after_a_look_at_the_plan,
    what_is_discarded_is_chosen_and_has_a_reason,
    a_discard_of_more_than_are_counted_says_at_least,
    letters_of_a_destination_that_is_gone_are_counted_and_can_be_chosen,
    more_letters_are_shown_once_however_often_they_are_asked_for,
    letters_behind_many_that_are_not_meant_are_found,
    a_letter_that_dies_again_is_listed_again,
    the_list_does_not_move_under_the_hands,
    what_comes_late_takes_nobodys_dialog,
    a_button_does_what_it_says_when_it_is_pressed,
    a_relay_of_another_version_is_told,
    what_fails_behind_a_dialog_that_was_left_is_told,
    everything_is_done_with_the_keyboard_alone,
    it_fits_a_phone_in_light_and_dark,
    nobody_is_shut_out,
    a_relay_that_is_gone_is_told_and_one_that_comes_back_is_found,
    a_refused_configuration_is_told_with_its_report,
    a_token_is_asked_for_and_kept_in_the_tab_alone,
    the_token_that_was_given_last_counts,
    a_page_elsewhere_changes_nothing,
]
