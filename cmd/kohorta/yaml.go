package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// What YAML decoding says of Go's types.
var (
	yamlMismatch = regexp.MustCompile(`cannot unmarshal !!(\w+)(?: ` + "`([^`]*)`" + `)? into (\S+)`)
	yamlUnknown  = regexp.MustCompile(`field (\S+) not found in type \S+`)
)

// plainYAML is an error of decoding in the words of YAML; other errors stay as they are.
func plainYAML(err error) error {
	var fault *yaml.TypeError
	if !errors.As(err, &fault) {
		return err
	}
	found := strings.NewReplacer("map", "a mapping", "seq", "a list", "str", "text", "int", "a number", "float", "a number", "bool", "true or false")
	lines := make([]string, len(fault.Errors))
	for i, text := range fault.Errors {
		line := yamlUnknown.ReplaceAllString(fmt.Sprint(text), "there is no setting $1")
		lines[i] = yamlMismatch.ReplaceAllStringFunc(line, func(mismatch string) string {
			parts := yamlMismatch.FindStringSubmatch(mismatch)
			value := strings.TrimSpace(found.Replace(parts[1]) + " " + parts[2])
			return fmt.Sprintf("%s stands where %s is expected", value, yamlTypeOf(parts[3]))
		})
	}
	return errors.New(strings.Join(lines, "; "))
}

// yamlTypeOf is a type of Go in words of YAML.
func yamlTypeOf(goType string) string {
	switch {
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	case strings.HasPrefix(goType, "int"), strings.HasPrefix(goType, "uint"), strings.HasPrefix(goType, "float"):
		return "a number"
	case goType == "string":
		return "text"
	case goType == "bool":
		return "true or false"
	case goType == "time.Duration":
		return "a duration such as 10s"
	case goType == "time.Time":
		return "a time such as 2026-12-31T00:00:00Z"
	}
	return "a mapping"
}
