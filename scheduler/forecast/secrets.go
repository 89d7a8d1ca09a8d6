package forecast

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// hidden stands for a value, or the part of one, that is not shown.
const hidden = "***"

// secretWords are words of a name that make its value a secret, secretParts those that do so within a word, and at its end:
// requirepass, PGPASSWORD.
var (
	secretWords = []string{
		"key", "keys", "pwd", "pw", "creds", "jwt", "dsn", "salt", "cookie", "private", "signature", "pin", "otp", "bearer", "authorization",
	}
	secretParts = []string{"password", "passwd", "passphrase", "passcode", "secret", "token", "apikey", "credential"}
	secretEnds  = []string{"pass", "auth"}
	pathWords   = []string{"file", "path", "dir"} // by the convention of many images, where a secret is found
)

// looksSecret tells by the name of a variable, label or option whether its value may be a secret. It errs on that side.
func looksSecret(name string) bool {
	if name == "PWD" || name == "OLDPWD" {
		return false
	}
	words := wordsOf(name)
	if len(words) == 0 || slices.Contains(pathWords, words[len(words)-1]) {
		return false
	}
	return slices.ContainsFunc(words, func(w string) bool {
		within := func(part string) bool { return strings.Contains(w, part) }
		ends := func(end string) bool { return strings.HasSuffix(w, end) }
		return slices.Contains(secretWords, w) || slices.ContainsFunc(secretParts, within) || slices.ContainsFunc(secretEnds, ends)
	})
}

// wordsOf are the words of a name in small letters: API_KEY, api-key and apiKey are two each.
func wordsOf(name string) []string {
	var b strings.Builder
	small := false
	for _, r := range name {
		if unicode.IsUpper(r) && small {
			b.WriteByte(' ')
		}
		small = unicode.IsLower(r) || unicode.IsDigit(r)
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			r = ' '
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return strings.Fields(b.String())
}

var (
	// The user information of a URL: a name and a password, or a token alone.
	urlPassword = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*):[^\s@]+@`)
	urlToken    = regexp.MustCompile(`(https?://)[^\s/:@*]+@`)
	privateKey  = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`)
	// named are a name, what stands between, and a value: NAME=value and --name=value; --name value; "name": value; and
	// Name: value as in a header, which goes on to the end of its quotes.
	named = []*regexp.Regexp{
		regexp.MustCompile(`([A-Za-z][\w.-]*)(=)('[^']*'|"[^"]*"|[^\s&;,'"]+)`),
		regexp.MustCompile(`(--?[A-Za-z][\w-]*)([ \t]+)('[^']*'|"[^"]*"|[^\s'"-]\S*)`),
		regexp.MustCompile(`("[A-Za-z][\w.-]*")(\s*:\s*)("[^"]*"|[^\s,{}"]+)`),
		regexp.MustCompile(`([A-Za-z][\w.-]*)(:[ \t]+)([^\n'"]+)`),
	}
)

// deepest bounds how far within one another names and values are looked for: --env=URL=x?token=y has three.
const deepest = 4

// mask hides what looks like secrets within a text: private keys, passwords in URLs, and what follows names as in looksSecret.
func mask(s string) string { return maskWithin(s, deepest) }

func maskWithin(s string, depth int) string {
	s = privateKey.ReplaceAllString(s, hidden)
	s = urlPassword.ReplaceAllString(s, "${1}:"+hidden+"@")
	s = urlToken.ReplaceAllString(s, "${1}"+hidden+"@")
	for _, pattern := range named {
		s = pattern.ReplaceAllStringFunc(s, func(found string) string {
			part := pattern.FindStringSubmatch(found)
			if depth == 0 || looksSecret(part[1]) {
				return part[1] + part[2] + hidden
			}
			return part[1] + part[2] + maskWithin(part[3], depth-1) // --env=PASSWORD=x
		})
	}
	return s
}
