package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/argoproj/argo-cd/gitops-engine/v3/pkg/health"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A folder of health checks, run as Argo CD runs them: with the libraries package, base and table alone (util/lua/lua.go).
type luaChecks string

func (checks luaChecks) GetResourceHealth(object *unstructured.Unstructured) (*health.HealthStatus, error) {
	kind := object.GroupVersionKind()
	script, err := os.ReadFile(filepath.Join(string(checks), fmt.Sprintf("%s_%s.lua", kind.Group, kind.Kind)))
	if os.IsNotExist(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
	} {
		state.Push(state.NewFunction(open))
		state.Push(lua.LString(name))
		state.Call(1, 0)
	}
	state.SetGlobal("obj", value(state, object.Object))
	if err := state.DoString(string(script)); err != nil {
		return nil, err
	}
	said, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return nil, fmt.Errorf("the check of %s returns no table", kind.Kind)
	}
	return &health.HealthStatus{
		Status:  health.HealthStatusCode(said.RawGetString("status").String()),
		Message: said.RawGetString("message").String(),
	}, nil
}

func value(state *lua.LState, of any) lua.LValue {
	switch each := of.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, item := range each {
			table.RawSetString(key, value(state, item))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, item := range each {
			table.Append(value(state, item))
		}
		return table
	case string:
		return lua.LString(each)
	case bool:
		return lua.LBool(each)
	case int64:
		return lua.LNumber(each)
	case float64:
		return lua.LNumber(each)
	}
	return lua.LNil
}
