-- Health of a FineTuneJob for Argo CD, from its conditions.
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
for _, kind in ipairs({ "Failed", "Stalled" }) do
  if is(kind, "True") then
    return { status = "Degraded", message = message(kind, kind) }
  end
end
if is("Fits", "False") then
  return { status = "Degraded", message = message("Fits", "The job does not fit") }
end
if is("Complete", "True") then
  return { status = "Healthy", message = message("Complete", "Complete") }
end
if obj.spec.scheduling ~= nil and obj.spec.scheduling.suspend then
  return { status = "Suspended", message = message("Complete", "Suspended") }
end
return { status = "Progressing", message = message("Reconciling", "Running") }
