package samples

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// browser is a headless Chromium that shows the todo application.
type browser struct {
	t   testing.TB
	ctx context.Context
	url string
}

func newBrowser(t testing.TB, url string) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(800, 640),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.WSURLReadTimeout(commandTimeout))
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx, url: url}
	if err := chromedp.Do(ctx); err != nil { // starts it, without a deadline that would end it too
		t.Fatalf("start Chromium: %v", err)
	}
	return b
}

// do runs actions, which are given up when the browser seems to hang.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, commandTimeout)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		page, _ := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS("body")))
		b.t.Fatalf("in the browser: %v\nthe page:\n%s", err, page)
	}
}

// open loads the page and waits until it shows exactly these items.
func (b *browser) open(items ...string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.url))
	b.shows(items...)
}

// shows waits until the page shows exactly these items, in this order. Done ones begin with "x ".
func (b *browser) shows(items ...string) {
	b.t.Helper()
	want := strings.Join(items, "|")
	if len(items) == 0 {
		want = "empty: Nothing to do. Add the first item above."
	}
	b.evaluatesTo(want, `Array.from(document.querySelectorAll('li')).map(e =>
		({done: 'x ', empty: 'empty: '}[e.className] ?? '') + (e.querySelector('span') ?? e).textContent.trim()).join('|')`)
}

// evaluatesTo waits until a JavaScript expression has a value.
func (b *browser) evaluatesTo(want, expression string) {
	b.t.Helper()
	eventually(b.t, commandTimeout, func() error {
		got, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](expression))
		if err == nil && got != want {
			err = fmt.Errorf("the page shows %q, want %q", got, want)
		}
		return err
	})
}

func (b *browser) add(title string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS("form input"), title+"\n"))
}

func (b *browser) toggle(title string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.Search(`//li[.//span[text()="` + title + `"]]//input`)))
}

func (b *browser) remove(title string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(`button[aria-label="Delete ` + title + `"]`)))
}

// problem waits until the page shows an error message that holds a text.
func (b *browser) problem(text string) {
	b.t.Helper()
	b.evaluatesTo("true", `String(document.querySelector('[role="alert"] span')?.textContent.includes('`+text+`'))`)
}
