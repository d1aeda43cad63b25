package cli

import (
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/spf13/pflag"

	"github.com/bazbeans/bazbeans/conf"
)

// Common are the flags that every daemon has.
type Common struct {
	Config    string // file; "" for none
	LogFormat string
	LogLevel  string
	Help      bool
	Version   bool
}

// ParseFlags fills a config of type T: from defaults, then from the file that --config names, then from flags, so
// that a flag beats the file. bind ties flags to fields of the config it is given, with the fields' values as the
// flags' defaults; it runs twice. It returns the config, the flag set (for its usage text) and the other arguments.
// Its errors have exit code 2.
func ParseFlags[T any](name string, args []string, defaults func() T, bind func(*pflag.FlagSet, *T)) (T, Common, *pflag.FlagSet, error) {
	// First without the file, to learn its name and to see that the flags are right.
	cfg := defaults()
	common, flags, err := parse(name, args, &cfg, bind)
	if err != nil || common.Config == "" || common.Help || common.Version {
		return cfg, common, flags, err
	}
	cfg = defaults()
	if err := conf.Load(common.Config, &cfg); err != nil {
		return cfg, common, flags, &Error{Code: Usage, Err: err}
	}
	common, flags, err = parse(name, args, &cfg, bind)
	return cfg, common, flags, err
}

// goWords are Go's own words in an error about a number, which say nothing to the user of a flag.
var goWords = regexp.MustCompile(`strconv\.\w+: parsing "[^"]*": `)

func parse[T any](name string, args []string, cfg *T, bind func(*pflag.FlagSet, *T)) (Common, *pflag.FlagSet, error) {
	var c Common
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	bind(fs, cfg)
	fs.StringVar(&c.Config, "config", "", "YAML `file` with settings; flags beat it")
	fs.StringVar(&c.LogFormat, "log-format", "", "text or json (default: text on a terminal, else json)")
	fs.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	fs.BoolVarP(&c.Help, "help", "h", false, "show this help")
	fs.BoolVar(&c.Version, "version", false, "show the version")
	if err := fs.Parse(args); err != nil && !errors.Is(err, pflag.ErrHelp) {
		return c, fs, Usagef("%s (see %s --help)", goWords.ReplaceAllString(err.Error(), ""), name)
	}
	return c, fs, nil
}

// PrintUsage prints a help text: what the program is, how it is called, and its flags.
func PrintUsage(w io.Writer, text string, fs *pflag.FlagSet) {
	fmt.Fprintf(w, "%s\nFlags:\n%s", text, fs.FlagUsagesWrapped(100))
}
