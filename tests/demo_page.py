"""What a visitor does with the web demo, and what they see."""


def opened(browser, address):
    browser.requests.clear()
    browser.messages.clear()
    browser.open(f"{address}/")
    settled(browser)
    return browser


def settled(browser):
    browser.wait("document.body.dataset.state !== 'loading'")
    browser.wait("!document.querySelector('#result[aria-busy=true]')")


def state(browser):
    return browser.evaluate("document.body.dataset.state")


def text_of(browser, selector):
    return browser.evaluate(f"document.querySelector('{selector}').innerText")


def type_text(browser, text):
    """Type a text into the empty field, as a keyboard does."""
    browser.evaluate("document.querySelector('#clear').click()")
    browser.call("Input.insertText", text=text)
    settled(browser)


def scores(browser):
    """Return the scores by class, in the order of the bars."""
    rows = browser.evaluate(
        "[...document.querySelectorAll('#scores li')]"
        ".map(row => [row.dataset.label, Number(row.dataset.score)])"
    )
    return dict(rows)


def tab(page, back=False):
    page.press(
        "Tab", code="Tab", windowsVirtualKeyCode=9, modifiers=8 if back else 0
    )
