-- Health of a ModelDeployment for Argo CD, from its conditions.
-- Argo CD runs this in Lua 5.1 with the base and table libraries only.
local conditions = {}
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    conditions[condition.type] = condition
  end
end

local function is(kind, status)
  return conditions[kind] ~= nil and conditions[kind].status == status
end

local function message(kind, otherwise)
  local condition = conditions[kind]
  if condition ~= nil and condition.message ~= nil and condition.message ~= "" then
    return condition.message
  end
  return otherwise
end

-- Conditions are about the spec that the operator has seen.
if obj.status == nil or (obj.status.observedGeneration or 0) < (obj.metadata.generation or 0) then
  return { status = "Progressing", message = "Waits for the operator" }
end
if is("Stalled", "True") then
  return { status = "Degraded", message = message("Stalled", "Stalled") }
end
if is("Fits", "False") then
  return { status = "Degraded", message = message("Fits", "The model does not fit") }
end
-- As Argo CD judges a Deployment: what still rolls to another model is not healthy yet, though the old one
-- answers; and zero replicas are what was asked for.
if is("Progressing", "True") then
  return { status = "Progressing", message = message("Progressing", "Rolling out") }
end
if is("Available", "True") or obj.spec.replicas == 0 then
  return { status = "Healthy", message = message("Available", "Available") }
end
return { status = "Progressing", message = message("Available", "Not available yet") }
