-- Health of an Application within another. Argo CD has had none of its own since 1.8, and without one a sync
-- wave does not wait for the Applications of the wave before.
if obj.status ~= nil and obj.status.health ~= nil and obj.status.health.status ~= nil then
  return { status = obj.status.health.status, message = obj.status.health.message or "" }
end
return { status = "Progressing", message = "Waits for the first sync" }
