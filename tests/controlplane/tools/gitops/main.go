// What Argo CD's application controller does with one source, by Argo CD's own engine, once.
//
//	gitops APPLICATION NAMESPACE FOLDER HEALTH
//
// It compares the manifests in FOLDER with the cluster of KUBECONFIG, syncs them with prune and ServerSideApply=true,
// and prints what differed before, what was done, and how healthy each object is then, by the checks in HEALTH
// (GROUP_KIND.lua) or the engine's own.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/argoproj/argo-cd/gitops-engine/v3/pkg/cache"
	"github.com/argoproj/argo-cd/gitops-engine/v3/pkg/diff"
	"github.com/argoproj/argo-cd/gitops-engine/v3/pkg/engine"
	"github.com/argoproj/argo-cd/gitops-engine/v3/pkg/health"
	"github.com/argoproj/argo-cd/gitops-engine/v3/pkg/sync"
	"github.com/argoproj/argo-cd/gitops-engine/v3/pkg/utils/kube"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	trackingID = "argocd.argoproj.io/tracking-id"
	manager    = "argocd-controller"
)

type application struct {
	name, namespace string
	checks          luaChecks
	config          *rest.Config
	cluster         cache.ClusterCache
}

type told struct {
	Different []string                        `json:"different"`
	Synced    map[string]string               `json:"synced"`
	Health    map[string]*health.HealthStatus `json:"health"`
}

func main() {
	if len(os.Args) != 5 {
		fail(fmt.Errorf("usage: gitops APPLICATION NAMESPACE FOLDER HEALTH"))
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	fail(err)
	config.QPS, config.Burst = 100, 200
	app := application{name: os.Args[1], namespace: os.Args[2], checks: luaChecks(os.Args[4]), config: config}
	app.cluster = cache.NewClusterCache(config, cache.SetPopulateResourceInfoHandler(
		func(object *unstructured.Unstructured, _ bool) (any, bool) {
			return object.GetAnnotations()[trackingID], app.tracks(object)
		}))
	fail(app.cluster.EnsureSynced())
	targets, err := manifests(os.Args[3])
	fail(err)
	said, err := app.sync(context.Background(), targets)
	fail(err)
	fail(json.NewEncoder(os.Stdout).Encode(said))
}

func (app application) sync(ctx context.Context, targets []*unstructured.Unstructured) (*told, error) {
	for _, target := range targets {
		app.track(target)
	}
	there, err := app.cluster.GetManagedLiveObjs(targets, app.manages)
	if err != nil {
		return nil, err
	}
	said := told{Synced: map[string]string{}, Health: map[string]*health.HealthStatus{}}
	compared := sync.Reconcile(targets, there, app.namespace, app.cluster)
	if said.Different, err = differences(ctx, compared); err != nil {
		return nil, err
	}
	results, err := engine.NewEngine(app.config, app.cluster).Sync(
		ctx, targets, app.manages, "main", app.namespace, sync.WithPrune(true), sync.WithServerSideApply(true),
		sync.WithServerSideApplyManager(manager), sync.WithHealthOverride(app.checks))
	if err != nil {
		return nil, err
	}
	for _, result := range results {
		said.Synced[name(result.ResourceKey)] = fmt.Sprintf("%s: %s", result.Status, result.Message)
	}
	live, err := app.cluster.GetManagedLiveObjs(targets, app.manages)
	if err != nil {
		return nil, err
	}
	for key, object := range live {
		if said.Health[name(key)], err = health.GetResourceHealth(object, app.checks); err != nil {
			return nil, err
		}
	}
	return &said, nil
}

func (app application) track(object *unstructured.Unstructured) {
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[trackingID] = app.name
	object.SetAnnotations(annotations)
}

func (app application) tracks(object *unstructured.Unstructured) bool {
	return object.GetAnnotations()[trackingID] == app.name
}

func (app application) manages(resource *cache.Resource) bool {
	return resource.Info == app.name
}

func differences(ctx context.Context, compared sync.ReconciliationResult) ([]string, error) {
	different := []string{}
	for i, target := range compared.Target {
		live := compared.Live[i]
		object := target
		if target == nil {
			object = live
		}
		result, err := diff.Diff(ctx, target, live)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name(kube.GetResourceKey(object)), err)
		}
		if result.Modified || target == nil || live == nil {
			different = append(different, name(kube.GetResourceKey(object)))
		}
	}
	return different, nil
}

func manifests(folder string) ([]*unstructured.Unstructured, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var found []*unstructured.Unstructured
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		objects, err := kube.SplitYAML(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		found = append(found, objects...)
	}
	return found, nil
}

func name(key kube.ResourceKey) string {
	return fmt.Sprintf("%s/%s", key.Kind, key.Name)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
