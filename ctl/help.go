package ctl

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpWide is the width of help texts, in cells.
const helpWide = 100

// help prints a command's help. The global flags stand in that of bbctl itself only.
func help(cmd *cobra.Command, _ []string) {
	var b strings.Builder
	fmt.Fprintln(&b, cmd.Short)
	if cmd.Long != "" {
		fmt.Fprintf(&b, "\n%s\n", cmd.Long)
	}
	if h := cmd.Flags().Lookup("help"); h != nil {
		h.Hidden = true // who reads this knows it
	}
	usage := cmd.UseLine()
	if !cmd.HasParent() {
		usage = "bbctl [flags] COMMAND"
	}
	fmt.Fprintf(&b, "\nUsage: %s\n", usage)
	if cmd.Example != "" {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", cmd.Example)
	}
	rest := "Commands"
	if len(cmd.Groups()) > 0 {
		rest = "Also"
	}
	groups := append(cmd.Groups(), &cobra.Group{Title: rest})
	for _, g := range groups {
		title := g.Title
		for _, c := range cmd.Commands() {
			if c.GroupID == g.ID && c.IsAvailableCommand() {
				if title != "" {
					fmt.Fprintf(&b, "\n%s:\n", title)
					title = ""
				}
				fmt.Fprintf(&b, "  %-14s%s\n", c.Name(), c.Short)
			}
		}
	}
	flags := func(title string, fs *pflag.FlagSet) {
		if fs.HasAvailableFlags() {
			fmt.Fprintf(&b, "\n%s:\n%s", title, fs.FlagUsagesWrapped(helpWide))
		}
	}
	flags("Flags", cmd.LocalNonPersistentFlags())
	if cmd.HasParent() {
		fmt.Fprintln(&b, "\nFlags that every command has: see bbctl --help")
	} else {
		flags("Flags of every command", cmd.PersistentFlags())
		fmt.Fprint(&b, "\nExit codes: 0 done · 1 failed · 2 wrong usage or config · 3 no such node · 4 deadline passed ·\n5 refused by a guard\n")
	}
	fmt.Fprint(cmd.OutOrStdout(), b.String())
}

// helpCmd is `bbctl help VERB`, for fingers that are used to it.
func helpCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the help of a command.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(cmd.Root(), strings.Join(args, " "))
			}
			return c.Help()
		},
	}
}
